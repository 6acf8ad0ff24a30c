import { defaultSocketPath } from '../../diagnostics/http/unix-socket.ts'
import type { PoolReport } from '../../diagnostics/pool-report.ts'
import { CannotLook } from '../cannot-look.ts'
import { type Asking, findSocket, reportsAt, reportsIn } from '../inspect/served.ts'
import { openSession } from '../inspect/session.ts'
import { ProcFiles } from '../proc/proc-files.ts'
import { nameOf, targetOf } from '../proc/target.ts'

/** Where the reports of the pools of a process come from. */
export interface Source {
  /** Names the process or the address. */
  readonly what: string
  /** Has the process ended? */
  readonly isGone: () => boolean
  read(): Promise<PoolReport[]>
  close(): Promise<void>
}

export interface SourceOptions {
  /** Ask by the inspector of Node. */
  readonly inspect?: boolean
  /** The token of the diagnostics server. */
  readonly token?: string | undefined
  /** Give up after so many milliseconds without an answer. Default: never. */
  readonly millis?: number | undefined
}

/**
 * @param target - the id of a process, the path of a Unix socket, or the URL of a diagnostics server
 * @throws CannotLook that says what is missing
 */
export async function sourceOf(
  target: string,
  { inspect = false, token, millis }: SourceOptions,
): Promise<Source> {
  if (!/^\d+$/.test(target)) {
    if (inspect) throw new CannotLook('--inspect needs the id of a process')
    return served(target, target, () => false, { token, millis })
  }
  const pid = Number(target)
  if (pid === 0 || !isAlive(pid))
    throw new CannotLook(`there is no process ${target} that can be seen from here`)
  const proc = new ProcFiles()
  const what = process.platform === 'linux' ? nameOf(proc, pid) : `pid ${pid}`
  const isGone = (): boolean => !isAlive(pid)
  if (inspect) return inspected(proc, pid, what, isGone)
  const socket = await findSocket(proc, pid, { token, millis })
  if (socket === undefined)
    throw new CannotLook(
      `process ${pid} serves no diagnostics at ${defaultSocketPath(pid)}: call serveDiagnostics() in it, give the path of ` +
        'its socket, or ask by its inspector with --inspect',
    )
  return served(socket, what, isGone, { token, millis })
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // It is there, and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function served(where: string, what: string, isGone: () => boolean, how: Asking): Source {
  return { what, isGone, read: () => reportsAt(where, how), close: async () => {} }
}

/** Runs in the other process: the list of pools that hangs on globalThis. */
const REPORTS = `JSON.stringify([...(globalThis[Symbol.for('lifeguard-pool:pools')] ?? [])].flatMap(ref => ref.deref()?.reportJson() ?? []))`

async function inspected(proc: ProcFiles, pid: number, what: string, isGone: () => boolean): Promise<Source> {
  const target = targetOf(proc, pid)
  if (target === undefined) throw new CannotLook(`process ${pid} cannot be read in /proc`)
  const { inspector, close } = await openSession(proc, target)
  return {
    what,
    isGone,
    read: async () => reportsIn(String(await inspector.evaluate(REPORTS))) ?? [],
    close: async () => {
      const left = await close()
      if (left !== undefined) throw new CannotLook(left)
    },
  }
}
