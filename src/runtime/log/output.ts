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

/** Where lines leave the process. It takes as many bytes as there is room for right now, and never waits. */
export interface Outlet {
  /** @returns how many bytes were taken; 0 if there is no room, or nothing can be written now */
  write(bytes: Uint8Array): number
}

/** The descriptors of `process.stdout` and `process.stderr`. */
export type StandardFd = 1 | 2

/** Linux: the flag of an open file description, as /proc shows it (octal). */
const O_NONBLOCK = 0o4000
/**
 * How long the flags of a description shared with other processes are trusted. Reading them takes 15 µs. Milliseconds.
 */
const FLAGS_HOLD_MILLIS = 1

const streamOf = (fd: StandardFd): NodeJS.WriteStream => (fd === 1 ? process.stdout : process.stderr)

/**
 * Returns the outlet for one of the standard descriptors, whatever is behind it.
 *
 * A plain file is written to directly. A pipe or a terminal on Linux is opened again, because the flags of the
 * inherited description are shared with other processes: making it non-blocking would affect them, and any of them may
 * make it blocking again. A socket cannot be opened again (ENXIO), so the inherited description is used while /proc
 * shows that it is non-blocking. On other systems, only Node's own stream is available.
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
    // The descriptor is closed, or `--permission` forbids reading it. Node's stream handles both.
  }
  return new NodeStream(streamOf(fd))
}

function reopened(fd: StandardFd): number | undefined {
  const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants
  try {
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY)
  } catch {
    // There is no /proc, no permission (the process has changed its user), or the pipe has lost its reader.
    return undefined
  }
}

/** A descriptor that never blocks, or only for as long as a disk write takes. */
class Direct implements Outlet {
  readonly #fd: number
  readonly #stream: NodeJS.WriteStream | undefined

  /**
   * @param stream - Node's own stream to the same place. Its waiting data is older and may be half written, so it goes
   * first.
   */
  constructor(fd: number, stream?: NodeJS.WriteStream) {
    this.#fd = fd
    this.#stream = stream
  }

  write(bytes: Uint8Array): number {
    return this.#stream !== undefined && this.#stream.writableLength > 0 ? 0 : writeNow(this.#fd, bytes)
  }
}

/**
 * The inherited description, used only while it is non-blocking. A worker thread cannot make it so, because its stream
 * passes lines to the main thread. The first line there goes through Node's stream, which makes the main thread create
 * its own stream and with it a non-blocking descriptor; the lines after that go directly.
 */
class Shared implements Outlet {
  readonly #fd: StandardFd
  readonly #stream: NodeStream
  readonly #now: () => number
  #safeUntil = Number.NEGATIVE_INFINITY

  constructor(fd: StandardFd, now: () => number) {
    this.#fd = fd
    this.#now = now
    this.#stream = new NodeStream(streamOf(fd))
  }

  write(bytes: Uint8Array): number {
    if (streamOf(this.#fd).writableLength > 0) return 0
    if (this.#isSafe()) return writeNow(this.#fd, bytes)
    return handleOf(this.#fd) === undefined ? this.#stream.write(bytes) : 0
  }

  /**
   * Node makes the description non-blocking when it creates its stream. Another process may have changed that since.
   */
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
 * Node's stream, given a chunk only when it holds nothing, so at most one chunk waits in its memory. That chunk keeps
 * the process alive, and nothing can prevent this, because data cannot be taken back out of a stream.
 */
class NodeStream implements Outlet {
  readonly #stream: NodeJS.WriteStream

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
  }

  write(bytes: Uint8Array): number {
    const stream = this.#stream
    if (stream.writableLength > 0 || stream.destroyed || stream.writableEnded) return 0
    // The console does the same: a reader that has gone must not crash the process.
    stream.on('error', ignore)
    stream.write(bytes, () => stream.off('error', ignore))
    return bytes.length
  }
}

function ignore(): void {}

function writeNow(fd: number, bytes: Uint8Array): number {
  try {
    // Node reports a full pipe as an error, and its stack would cost more than the rest.
    return withoutStack(() => writeSync(fd, bytes))
  } catch {
    // EAGAIN: no room. EPIPE, ENOSPC, EIO: no room either, perhaps later.
    return 0
  }
}

interface StreamHandle {
  setBlocking?(blocking: boolean): void
}

/** A private field of Node's. The stream of a worker thread has none, because it writes through the main thread. */
function handleOf(fd: StandardFd): StreamHandle | undefined {
  return (streamOf(fd) as { _handle?: StreamHandle | null })._handle ?? undefined
}

const flagsOf = (fd: StandardFd): number | undefined => flagsIn(fileText(`/proc/self/fdinfo/${fd}`))

/** The flags of a descriptor, from its file in /proc. */
export function flagsIn(fdinfo: string): number | undefined {
  const flags = /^flags:\s*([0-7]+)$/m.exec(fdinfo)?.[1]
  return flags === undefined ? undefined : Number.parseInt(flags, 8)
}

const isNonBlocking = (fd: StandardFd): boolean => ((flagsOf(fd) ?? 0) & O_NONBLOCK) !== 0

/** The content of a file in /proc; empty if it cannot be read. */
export function fileText(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

/** The target of a link in /proc; empty if it cannot be read. */
export function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

/**
 * Appends text to a file that only this user can read, and creates the file if needed. Does not wait, even if the file
 * is a named pipe that nobody reads. Refuses anything that others could have put in its place: a link, or another
 * user's file.
 *
 * @throws Error if it cannot be written
 */
export function appendNow(file: string, text: string): void {
  const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOFOLLOW } = constants
  // Windows has no O_NOFOLLOW, so links are followed there.
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
  const stat = fstatSync(fd)
  const user = process.geteuid?.()
  // A device, such as /dev/null, belongs to the system, so its mode must not be changed.
  if (user === undefined || stat.isCharacterDevice()) return
  if (stat.uid !== user) throw new Error('the file belongs to another user')
  if (!stat.isFile()) return
  if (stat.nlink > 1) throw new Error('the file has further names (hard links)')
  if ((stat.mode & 0o077) !== 0) fchmodSync(fd, 0o600)
}
