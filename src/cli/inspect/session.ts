import { systemClock } from '../../runtime/time/clock.ts'
import { undoOnSignal } from '../interrupts.ts'
import { isStuck } from '../proc/main-thread.ts'
import type { ProcFiles } from '../proc/proc-files.ts'
import { sampleOf } from '../proc/sample.ts'
import { pause } from '../proc/series.ts'
import { bornAt, type Target, targetOf } from '../proc/target.ts'
import { Inspector, PATIENCE_MILLIS, within } from './inspector.ts'
import { inspectorsAt, isSame, listensAt, type Place, usedBy, wantedPort } from './places.ts'

const POLL_MILLIS = 50
/** A main thread that stays where no event reaches it for this long does not answer. Milliseconds. */
const STUCK_MILLIS = 400
/** After a signal to this command: how long to wait for an inspector that is about to open. Milliseconds. */
const LATE_MILLIS = 5000
const TRIES = 3

/** The inspector of a process, opened for a while. It is closed again however this command ends. */
export interface Session {
  readonly inspector: Inspector
  /** Ends it. @returns what is left open and how to close it; undefined if nothing is */
  close(): Promise<string | undefined>
}

/**
 * Opens the inspector of a process by SIGUSR1, unless it is open.
 *
 * @throws Error that says why there is none
 */
export async function openSession(proc: ProcFiles, target: Target): Promise<Session> {
  let failure: unknown
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    try {
      return await attemptSession(proc, target)
    } catch (error) {
      if (!(error instanceof Lost)) throw error
      // Another command has just closed it.
      failure = error
      await pause(POLL_MILLIS)
    }
  }
  throw failure
}

/** An inspector that was there, and went away. */
class Lost extends Error {}

async function attemptSession(proc: ProcFiles, target: Target): Promise<Session> {
  const { pid } = target
  const namespace = proc.link(`${pid}/ns/net`)
  if (namespace !== '' && namespace !== proc.link('self/ns/net'))
    throw new Error(
      `it is in another network namespace (a container), where its inspector would open: run this inside, nsenter -t ${pid} -n`,
    )
  const before = listensAt(proc, pid)
  const found = await sessionAt(proc, target, await inspectorsAt(before), false)
  if (found !== undefined) return found
  await checkSignal(proc, target)
  let opening: Promise<Session> | undefined
  const forget = undoOnSignal(async () => opening && (await closedLate(opening, pid)))
  try {
    process.kill(pid, 'SIGUSR1')
    opening = openedAfter(proc, target, before)
    return await opening
  } finally {
    forget()
  }
}

/** Closes an inspector that is about to open. @returns what to do if it has not opened yet */
async function closedLate(opening: Promise<Session>, pid: number): Promise<string | undefined> {
  try {
    const session = await within(opening, LATE_MILLIS, 'its inspector')
    return await session.close()
  } catch {
    return leftOpen(pid)
  }
}

/** @throws Error that says why SIGUSR1 is not sent */
async function checkSignal(proc: ProcFiles, target: Target): Promise<void> {
  const { pid, name } = target
  const now = targetOf(proc, pid)
  if (now === undefined || now.born !== target.born) throw new Error(`process ${pid} (${name}) has ended`)
  // Any other program would be ended by the signal.
  if (!now.isNode)
    throw new Error(
      proc.refused.has('exe')
        ? 'whether it is a process of Node cannot be seen by this user'
        : `${name} is no process of Node, and SIGUSR1 would end it`,
    )
  if (!now.catchesSignal)
    throw new Error(
      `${name} does not catch SIGUSR1 (--disable-sigusr1, or it has just started), which would end it`,
    )
  const port = wantedPort(proc, target)
  const other = usedBy(proc, target, port)
  if (other !== undefined)
    throw new Error(
      `its inspector would open at port ${port}, where ${other} listens: start the process with --inspect-port=0`,
    )
  if (await staysStuck(proc, pid))
    throw new Error(
      'its main thread is blocked in the kernel and cannot answer; its inspector was not opened, because it would open only later',
    )
}

async function staysStuck(proc: ProcFiles, pid: number): Promise<boolean> {
  const look = (): string | undefined => {
    const sample = sampleOf(proc, pid, 0)
    const [main] = sample.threads
    return isStuck(sample, true)
      ? `${main?.call?.name} ${main?.call?.args.join()} ${main?.ranMillis}`
      : undefined
  }
  const first = look()
  if (first === undefined) return false
  await pause(STUCK_MILLIS)
  return look() === first
}

async function openedAfter(
  proc: ProcFiles,
  target: Target,
  before: ReturnType<typeof listensAt>,
): Promise<Session> {
  const deadline = systemClock.now() + PATIENCE_MILLIS
  while (systemClock.now() < deadline) {
    await pause(POLL_MILLIS)
    const fresh = listensAt(proc, target.pid).filter(one => !before.some(other => isSame(one, other)))
    const session = await sessionAt(proc, target, await inspectorsAt(fresh), true)
    if (session !== undefined) return session
    if (bornAt(proc, target.pid) !== target.born) throw new Error(`process ${target.pid} has ended`)
  }
  throw new Error(
    `its inspector has not opened: the process may have a listener of its own for SIGUSR1, or is busy. ${leftOpen(target.pid)}`,
  )
}

const leftOpen = (pid: number): string =>
  `If it opens its inspector later, on 127.0.0.1, this closes it: lifeguard-pool doctor ${pid} --close-inspector`

/** The session at the first of these places that belongs to the process. */
async function sessionAt(
  proc: ProcFiles,
  target: Target,
  places: readonly Place[],
  isOurs: boolean,
): Promise<Session | undefined> {
  for (const place of places) {
    let inspector: Inspector | undefined
    try {
      inspector = await Inspector.connect(place)
      // Before anything else: another process may listen there too.
      const pid = await inspector.evaluate('process.pid')
      if (pid === target.pid || pid === target.innerPid)
        return await joined(proc, target, place, inspector, isOurs)
      inspector.disconnect()
    } catch (error) {
      inspector?.disconnect()
      const isThere = (await inspectorsAt([place])).length > 0
      if (isThere)
        throw new Error(
          `an inspector at ${place.host}:${place.port}, where it listens, does not answer: ${error instanceof Error ? error.message : error}`,
        )
      throw new Lost('the inspector was closed by somebody else')
    }
  }
  return undefined
}

/*
 * Commands that use an inspector at a time write themselves into a list in the process, so that only the last of them
 * closes it. An inspector without such a list was opened by somebody else, and stays open.
 */
const USERS = `globalThis[Symbol.for('lifeguard-pool:inspector')]`

const join = (id: string, isOurs: boolean): string => `{
  if (${isOurs} && ${USERS} === undefined)
    Object.defineProperty(globalThis, Symbol.for('lifeguard-pool:inspector'), { value: new Set(), configurable: true })
  ${USERS}?.add(${JSON.stringify(id)})
  JSON.stringify(${USERS} === undefined ? null : [...${USERS}])
}`

const leave = (ids: readonly string[]): string => `{
  const users = ${USERS}
  for (const id of ${JSON.stringify(ids)}) users?.delete(id)
  if (users?.size === 0) {
    delete ${USERS};
    ${CLOSE}
  }
  users?.size ?? 0
}`

const CLOSE = `(process.getBuiltinModule?.('inspector') ?? require('inspector')).close()`

let last = 0

async function joined(
  proc: ProcFiles,
  target: Target,
  place: Place,
  inspector: Inspector,
  isOurs: boolean,
): Promise<Session> {
  last += 1
  const id = [process.pid, bornAt(proc, process.pid), last].join('.')
  const users = JSON.parse(String(await inspector.evaluate(join(id, isOurs)))) as string[] | null
  if (users === null) return { inspector, close: async () => void inspector.disconnect() }
  let closing: Promise<string | undefined> | undefined
  const close = (): Promise<string | undefined> => {
    closing ??= closed(proc, target, place, inspector, id).finally(forget)
    return closing
  }
  const forget = undoOnSignal(close)
  return { inspector, close }
}

async function closed(
  proc: ProcFiles,
  target: Target,
  place: Place,
  inspector: Inspector,
  id: string,
): Promise<string | undefined> {
  const { pid, born } = target
  try {
    const users = JSON.parse(
      String(await inspector.evaluate(`JSON.stringify([...(${USERS} ?? [])])`)),
    ) as string[]
    const gone = users.filter(user => user !== id && !isThere(proc, user))
    return await evaluateLast(proc, target, place, inspector, leave([id, ...gone]))
  } catch (error) {
    if (bornAt(proc, pid) !== born || (await inspectorsAt([place])).length === 0) return undefined
    return `its inspector may still be open (${error instanceof Error ? error.message : error}). ${leftOpen(pid)}`
  } finally {
    inspector.disconnect()
  }
}

/** Evaluates what may close the inspector, and so lose its answer. */
async function evaluateLast(
  proc: ProcFiles,
  { pid, born }: Target,
  place: Place,
  inspector: Inspector,
  expression: string,
): Promise<string | undefined> {
  let others: unknown
  inspector.evaluate(expression).then(
    answer => {
      others = answer
    },
    () => {},
  )
  const deadline = systemClock.now() + PATIENCE_MILLIS
  while (systemClock.now() < deadline) {
    await pause(POLL_MILLIS)
    // Somebody else still uses it, and closes it.
    if (typeof others === 'number' && others > 0) return undefined
    if (bornAt(proc, pid) !== born || (await inspectorsAt([place])).length === 0) return undefined
  }
  return `its inspector is still open: it closes once its main thread comes back. ${leftOpen(pid)}`
}

function isThere(proc: ProcFiles, user: string): boolean {
  const [pid = '', born = ''] = user.split('.')
  return bornAt(proc, Number(pid)) === born
}

/** Closes the inspector of a process, whoever has opened it. @returns what has been done */
export async function closeInspector(proc: ProcFiles, target: Target): Promise<string> {
  for (const place of await inspectorsAt(listensAt(proc, target.pid))) {
    const inspector = await Inspector.connect(place)
    try {
      const pid = await inspector.evaluate('process.pid')
      if (pid !== target.pid && pid !== target.innerPid) continue
      const left = await evaluateLast(proc, target, place, inspector, `delete ${USERS}; ${CLOSE}`)
      if (left !== undefined) throw new Error(left)
      return `the inspector at ${place.host}:${place.port} is closed`
    } finally {
      inspector.disconnect()
    }
  }
  return 'its inspector is not open'
}
