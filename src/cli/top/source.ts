import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defaultSocketPath } from '../../diagnostics/http/unix-socket.ts'
import type { PoolReport } from '../../diagnostics/pool-report.ts'
import { CannotLook } from '../doctor/doctor.ts'
import { Inspector } from '../inspect/inspector.ts'
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
}

/** Reports of more than this are not read: something else answers. */
const MOST_BYTES = 256 * 2 ** 20

/**
 * @param target - the id of a process, the path of a Unix socket, or the URL of a diagnostics server
 * @throws CannotLook that says what is missing
 */
export async function sourceOf(target: string, { inspect = false, token }: SourceOptions): Promise<Source> {
  if (!/^\d+$/.test(target)) {
    if (inspect) throw new CannotLook('--inspect needs the id of a process')
    return served(target, target, () => false, token)
  }
  const pid = Number(target)
  if (pid === 0 || !isAlive(pid))
    throw new CannotLook(`there is no process ${target} that can be seen from here`)
  const proc = new ProcFiles()
  const what = process.platform === 'linux' ? nameOf(proc, pid) : `pid ${pid}`
  const isGone = (): boolean => !isAlive(pid)
  if (inspect) return inspected(proc, pid, what, isGone)
  const socket = await socketOf(proc, pid, token)
  return served(socket, what, isGone, token)
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // It is there, and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** The default socket of the process, in its folder for temporary files or in ours. */
async function socketOf(proc: ProcFiles, pid: number, token: string | undefined): Promise<string> {
  const own = /(?:^|\0)TMPDIR=([^\0]+)/.exec(proc.text(`${pid}/environ`))?.[1]
  const paths = [...new Set([own ?? tmpdir(), tmpdir(), '/tmp'])].map(folder =>
    join(folder, defaultSocketPath(pid).split('/').at(-1) as string),
  )
  let refused: unknown
  for (const path of paths) {
    try {
      await reportsAt(path, token)
      return path
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') refused ??= error
    }
  }
  if (refused instanceof Error) throw refused
  throw new CannotLook(
    `process ${pid} serves no diagnostics at ${paths[0]}: call serveDiagnostics() in it, give the path of its ` +
      'socket, or ask by its inspector with --inspect',
  )
}

function served(where: string, what: string, isGone: () => boolean, token: string | undefined): Source {
  return { what, isGone, read: () => reportsAt(where, token), close: async () => {} }
}

/** Asks once. There is no time limit, so that no requests pile up in a process that is blocked. */
function reportsAt(where: string, token: string | undefined): Promise<PoolReport[]> {
  const isUrl = /^https?:\/\//.test(where)
  const path = '/report?format=json'
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => reject(new CannotLook(`${where} ${why}`))
    const call = isUrl
      ? get(new URL(path, where), { agent: false, headers })
      : get({ socketPath: where, path, agent: false, headers })
    call.on('error', (error: NodeJS.ErrnoException) => {
      const known = REASONS[error.code ?? '']
      reject(
        known === undefined
          ? error
          : Object.assign(new CannotLook(`${where} ${known}`), { code: error.code }),
      )
    })
    call.on('response', response => {
      const { statusCode } = response
      const parts: Buffer[] = []
      let bytes = 0
      response.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes > MOST_BYTES) response.destroy(new CannotLook(`${where} sends more than any report has`))
        else parts.push(part)
      })
      response.on('error', reject)
      response.on('end', () => {
        if (statusCode === 401) fail('wants its token: --token, or LIFEGUARD_POOL_TOKEN in the environment')
        else if (statusCode !== 200) fail(`answers ${statusCode}`)
        else {
          const reports = reportsIn(Buffer.concat(parts).toString())
          if (reports === undefined) fail('answers with something that is no report of lifeguard-pool')
          else resolve(reports)
        }
      })
    })
  })
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ECONNREFUSED: 'is served by nobody',
  EACCES: 'may not be opened by this user',
  ENOTSOCK: 'is no socket',
}

function reportsIn(text: string): PoolReport[] | undefined {
  try {
    const reports = JSON.parse(text) as PoolReport[]
    return Array.isArray(reports) && reports.every(({ stats }) => typeof stats?.name === 'string')
      ? reports
      : undefined
  } catch {
    return undefined
  }
}

/** Runs in the other process: the list of pools that hangs on globalThis. */
const REPORTS = `JSON.stringify([...(globalThis[Symbol.for('lifeguard-pool:pools')] ?? [])].flatMap(ref => ref.deref()?.reportJson() ?? []))`

async function inspected(proc: ProcFiles, pid: number, what: string, isGone: () => boolean): Promise<Source> {
  const target = targetOf(proc, pid)
  if (target === undefined) throw new CannotLook(`process ${pid} cannot be read in /proc`)
  const inspector = await Inspector.open(proc, target)
  return {
    what,
    isGone,
    read: async () => reportsIn(String(await inspector.evaluate(REPORTS))) ?? [],
    close: async () => {
      if (!(await inspector.close(proc, target)))
        throw new CannotLook(
          'its inspector could not be closed: it listens on 127.0.0.1 until the process ends',
        )
    },
  }
}
