import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  writeSync,
} from 'node:fs'
import { isatty } from 'node:tty'
import { withoutStack } from '../stack-limit.ts'

/** Where lines leave the process. It takes what there is room for at this moment, and never waits for more. */
export interface Outlet {
  /** @returns how many of the bytes were taken; 0 when there is no room, or nothing can be written now */
  write(bytes: Uint8Array): number
}

/** Node's streams over file descriptors 1 and 2. */
export type StandardFd = 1 | 2

/** Linux: the flag of an open file description, as /proc shows it (octal). */
const O_NONBLOCK = 0o4000
/** For how long the flags of a description shared with other processes are believed: a look takes 15 µs. Milliseconds. */
const FLAGS_HOLD_MILLIS = 1

const streamOf = (fd: StandardFd): NodeJS.WriteStream => (fd === 1 ? process.stdout : process.stderr)

/**
 * The way out of the process by one of its standard descriptors, whatever is behind it.
 *
 * A plain file is written to directly. A pipe or a terminal on Linux gets an open description of our own, as the flags
 * of the one that was inherited belong to other processes, too: made non-blocking, it would be so for them, and any of
 * them may make it blocking again. A socket cannot be opened again (ENXIO), so its inherited description has to do,
 * while /proc says that it does not block. Elsewhere there is only Node's own stream.
 */
export function outletOf(fd: StandardFd, now: () => number): Outlet {
  try {
    const stat = fstatSync(fd)
    const terminal = isatty(fd)
    if (stat.isFile() || (stat.isCharacterDevice() && !terminal)) return new Direct(fd)
    if (process.platform === 'linux') {
      const own = stat.isFIFO() || terminal ? reopened(fd) : undefined
      if (own !== undefined) return new Direct(own, terminal ? undefined : streamOf(fd))
      if (flagsOf(fd) !== undefined) return new Shared(fd, now)
    }
  } catch {
    // The descriptor is closed, or --permission forbids to look: the stream knows what to do.
  }
  return new Behind(streamOf(fd))
}

function reopened(fd: StandardFd): number | undefined {
  const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants
  try {
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY)
  } catch {
    // No /proc, no permission (the process has changed its user), or a pipe that has lost its reader.
    return undefined
  }
}

/** A descriptor that never blocks, or that blocks only as long as a disk does. */
class Direct implements Outlet {
  readonly #fd: number
  readonly #stream: NodeJS.WriteStream | undefined

  /** @param stream - Node's own stream to the same place: what waits in it is older, and may be half written */
  constructor(fd: number, stream?: NodeJS.WriteStream) {
    this.#fd = fd
    this.#stream = stream
  }

  write(bytes: Uint8Array): number {
    return this.#stream !== undefined && this.#stream.writableLength > 0 ? 0 : writeNow(this.#fd, bytes)
  }
}

/**
 * The inherited description itself, only while it does not block. A worker thread cannot make it so: its stream hands
 * lines to the main thread. Making a stream there is what the first of them does, so only that goes this way.
 */
class Shared implements Outlet {
  readonly #fd: StandardFd
  readonly #behind: Behind
  readonly #now: () => number
  #safeUntil = Number.NEGATIVE_INFINITY

  constructor(fd: StandardFd, now: () => number) {
    this.#fd = fd
    this.#now = now
    this.#behind = new Behind(streamOf(fd))
  }

  write(bytes: Uint8Array): number {
    if (streamOf(this.#fd).writableLength > 0) return 0
    if (this.#isSafe()) return writeNow(this.#fd, bytes)
    return handleOf(this.#fd) === undefined ? this.#behind.write(bytes) : 0
  }

  /** Node made it non-blocking when it made its stream; whoever else has it may have changed that. */
  #isSafe(): boolean {
    const now = this.#now()
    if (now < this.#safeUntil) return true
    if (!isNonBlocking(this.#fd)) handleOf(this.#fd)?.setBlocking?.(false)
    if (!isNonBlocking(this.#fd)) return false
    this.#safeUntil = now + FLAGS_HOLD_MILLIS
    return true
  }
}

/**
 * Node's stream, given a chunk only when it holds nothing: so what waits in memory is at most that chunk. While it
 * does, it holds the process; that cannot be helped here, as nothing can be taken out of a stream again.
 */
class Behind implements Outlet {
  readonly #stream: NodeJS.WriteStream

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
  }

  write(bytes: Uint8Array): number {
    const stream = this.#stream
    if (stream.writableLength > 0 || stream.destroyed || stream.writableEnded) return 0
    // As console does it: a reader that has gone must not bring the process down.
    stream.on('error', ignore)
    stream.write(bytes, () => stream.off('error', ignore))
    return bytes.length
  }
}

function ignore(): void {}

function writeNow(fd: number, bytes: Uint8Array): number {
  try {
    // A full pipe is an error to Node, and the stack of it would cost more than the rest.
    return withoutStack(() => writeSync(fd, bytes))
  } catch {
    // EAGAIN: no room. EPIPE, ENOSPC, EIO: no room either, perhaps later.
    return 0
  }
}

interface StreamHandle {
  setBlocking?(blocking: boolean): void
}

/** Private to Node; the stream of a worker thread has none, as it writes through the main thread. */
function handleOf(fd: StandardFd): StreamHandle | undefined {
  return (streamOf(fd) as { _handle?: StreamHandle | null })._handle ?? undefined
}

function flagsOf(fd: StandardFd): number | undefined {
  const flags = /^flags:\s*([0-7]+)$/m.exec(textOf(`/proc/self/fdinfo/${fd}`))?.[1]
  return flags === undefined ? undefined : Number.parseInt(flags, 8)
}

const isNonBlocking = (fd: StandardFd): boolean => ((flagsOf(fd) ?? 0) & O_NONBLOCK) !== 0

/** What a file of /proc says; nothing where there is none. */
export function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

/** Where a link of /proc leads; nothing where there is none. */
export function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

/**
 * Adds text to a file that only this user can read, made if there is none. Does not wait, also if the file is a named
 * pipe that nobody reads. What others could have put in its place is refused: a link, or a file that is somebody else's.
 *
 * @throws Error if that was not possible
 */
export function appendNow(file: string, text: string): void {
  const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOFOLLOW } = constants
  // Where there is no such flag (Windows) it is undefined, and a link is followed.
  const fd = openSync(file, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | (O_NOFOLLOW ?? 0), 0o600)
  try {
    keepPrivate(fd)
    const bytes = Buffer.from(text)
    for (let from = 0; from < bytes.length; ) from += writeSync(fd, bytes, from)
  } finally {
    closeSync(fd)
  }
}

function keepPrivate(fd: number): void {
  const { uid, nlink, mode } = fstatSync(fd)
  const user = process.geteuid?.()
  if (user === undefined) return
  if (uid !== user) throw new Error('the file belongs to another user')
  if (nlink > 1) throw new Error('the file has further names (hard links)')
  if ((mode & 0o077) !== 0) fchmodSync(fd, 0o600)
}
