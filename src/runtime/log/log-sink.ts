import { backoff } from '../time/backoff.ts'
import { type Clock, systemClock, type Timer } from '../time/clock.ts'
import { type Outlet, outletOf, type StandardFd } from './output.ts'

/** A pipe takes this many bytes in one piece or not at all (PIPE_BUF on Linux), so lines are not torn. */
const ATOMIC_BYTES = 4096
/** The first and the longest pause before a full outlet is tried again. Milliseconds. */
const FIRST_PAUSE = 10
const LONGEST_PAUSE = 320
/** How long a slow reader may take at the end of the process to read what is left. Milliseconds. */
const EXIT_WAIT_MILLIS = 1000
/** A reader that has not read a byte for this long counts as gone, not slow. Milliseconds. */
const GONE_MILLIS = 100

/** Options of a {@link LogSink}. */
export interface LogSinkOptions {
  /** 1 for stdout or 2 (default) for stderr. */
  fd?: StandardFd
  /** The most bytes of text that are kept while nobody reads. Default 262144, minimum 4096. */
  maxBytes?: number
}

interface Entry {
  bytes: Uint8Array
  /** True for a line from the caller, false for the sink's own notices. */
  readonly counts: boolean
}

/**
 * An output for log lines that never blocks the event loop, keeps only a bounded ring in memory and never keeps the
 * process alive. Lines that cannot be kept are dropped and counted, and "… 1234 lines dropped" is written in their
 * place once there is room. Lines keep their order.
 *
 *     write ─► outlet, as long as it takes all
 *         └──► ring [ old … new ] ─► outlet, when it has room again
 *                 └──► full: dropped and counted, until the ring is half empty, so that there are few gaps
 */
export class LogSink {
  /** How many lines have left the process. */
  written = 0
  /** How many lines were dropped and will never be written. */
  dropped = 0
  /** How many lines wait in memory. */
  waiting = 0
  /** The sinks that still have lines to write before the process ends. */
  static readonly #unwritten = new Set<LogSink>()
  static #watchesExit = false
  readonly #fd: StandardFd
  readonly #clock: Clock
  readonly #maxBytes: number
  readonly #label: string
  #outlet: Outlet | undefined
  #ring: Entry[] = []
  #ringBytes = 0
  #unreported = 0
  #isDropping = false
  #timer: Timer | undefined
  #rounds = 0
  #triedAt = Number.NEGATIVE_INFINITY
  #movedAt = 0
  #exitWaitSince: number | undefined

  /**
   * @internal
   * @param outlet - for tests; otherwise it is created from the descriptor at the first line
   */
  constructor(options: LogSinkOptions = {}, label = '', clock: Clock = systemClock, outlet?: Outlet) {
    const { fd = 2, maxBytes = 262_144 } = options
    if (fd !== 1 && fd !== 2) throw new RangeError(`fd must be 1 or 2, got ${fd}`)
    if (!(maxBytes >= ATOMIC_BYTES)) throw new RangeError(`maxBytes must be at least 4096, got ${maxBytes}`)
    this.#fd = fd
    this.#maxBytes = maxBytes
    this.#label = label
    this.#clock = clock
    this.#outlet = outlet
  }

  /** Would a line be dropped now? Check this before building an expensive line, and call {@link drop} instead. */
  get isFull(): boolean {
    if (this.#isDropping && this.#isTime()) this.flush()
    return this.#isDropping
  }

  /** Counts a line as dropped without building it. */
  drop(): void {
    this.dropped += 1
    this.#unreported += 1
  }

  /**
   * Writes one line, which must end with a line break. Synchronous if there is room.
   * @returns false if it was dropped
   */
  write(line: string): boolean {
    if (this.isFull) {
      this.drop()
      return false
    }
    const bytes = Buffer.from(line)
    if (this.#ring.length > 0 && this.#isTime()) this.flush()
    if (this.#ringBytes + bytes.length > this.#maxBytes) {
      this.#isDropping = true
      this.drop()
      this.#retryLater()
      return false
    }
    this.#push({ bytes, counts: true })
    if (this.#ring.length === 1) this.flush()
    return true
  }

  /** Writes waiting lines as far as there is room. */
  flush(): void {
    this.#outlet ??= outletOf(this.#fd, () => this.#clock.now())
    const now = this.#clock.now()
    this.#triedAt = now
    let moved = false
    this.#reportDropped()
    while (this.#ring.length > 0) {
      const chunk = this.#chunk()
      const taken = this.#outlet.write(chunk)
      if (taken > 0) moved = true
      this.#took(taken)
      this.#reportDropped()
      if (taken < chunk.length) break
    }
    if (moved) {
      this.#movedAt = now
      this.#rounds = 0
    }
    if (this.#ring.length > 0) this.#retryLater()
    else LogSink.#unwritten.delete(this)
  }

  #push(entry: Entry): void {
    this.#ring.push(entry)
    this.#ringBytes += entry.bytes.length
    if (entry.counts) this.waiting += 1
  }

  /** The first entries, as many as a pipe takes in one piece. A longer entry goes alone. */
  #chunk(): Uint8Array {
    let size = 0
    let count = 0
    for (const { bytes } of this.#ring) {
      if (count > 0 && size + bytes.length > ATOMIC_BYTES) break
      size += bytes.length
      count += 1
    }
    if (count === 1) return (this.#ring[0] as Entry).bytes
    return Buffer.concat(
      this.#ring.slice(0, count).map(entry => entry.bytes),
      size,
    )
  }

  #took(taken: number): void {
    this.#ringBytes -= taken
    let left = taken
    let whole = 0
    for (const entry of this.#ring) {
      if (entry.bytes.length > left) {
        if (left > 0) entry.bytes = entry.bytes.subarray(left)
        break
      }
      left -= entry.bytes.length
      whole += 1
      if (entry.counts) {
        this.written += 1
        this.waiting -= 1
      }
    }
    if (whole > 0) this.#ring.splice(0, whole)
  }

  /** Adds the notice in place of the dropped lines: after the older lines, before those accepted from now on. */
  #reportDropped(): void {
    if (this.#unreported === 0 || this.#ringBytes > this.#maxBytes / 2) return
    this.#push({ bytes: Buffer.from(`${this.#label}… ${this.#unreported} lines dropped\n`), counts: false })
    this.#unreported = 0
    this.#isDropping = false
  }

  #isTime(): boolean {
    return this.#clock.now() - this.#triedAt >= FIRST_PAUSE
  }

  #retryLater(): void {
    LogSink.#watchExit(this)
    if (this.#timer !== undefined) return
    // Log lines must not keep the process alive.
    this.#timer = this.#clock.after(backoff(this.#rounds, FIRST_PAUSE, LONGEST_PAUSE), () => {
      this.#timer = undefined
      this.flush()
    })
    this.#rounds += 1
  }

  /** All sinks share one listener per event. A sink is forgotten once it has written all its lines. */
  static #watchExit(sink: LogSink): void {
    LogSink.#unwritten.add(sink)
    if (LogSink.#watchesExit) return
    LogSink.#watchesExit = true
    process.on('beforeExit', () => {
      for (const left of LogSink.#unwritten) left.#waitForReader()
    })
    process.on('exit', () => {
      for (const left of LogSink.#unwritten) {
        left.#isDropping = false
        left.flush()
      }
    })
  }

  /** Called when the process has nothing left to do: gives a slow reader a little more time. */
  #waitForReader(): void {
    this.flush()
    if (this.#ring.length === 0) return
    const now = this.#clock.now()
    this.#exitWaitSince ??= now
    const isGone = now - Math.max(this.#movedAt, this.#exitWaitSince) > GONE_MILLIS
    if (isGone || now - this.#exitWaitSince > EXIT_WAIT_MILLIS) return
    this.#timer?.cancel()
    this.#timer = this.#clock.after(FIRST_PAUSE, () => {
      this.#timer = undefined
      this.flush()
    })
    this.#timer.hold(true)
  }
}
