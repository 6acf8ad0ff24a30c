import { backoff } from '../time/backoff.ts'
import { type Clock, systemClock, type Timer } from '../time/clock.ts'
import { type Outlet, outletOf, type StandardFd } from './output.ts'

/** A pipe takes this much at once or not at all (PIPE_BUF of Linux), so lines are not torn. */
const ATOMIC_BYTES = 4096
/** The first pause before a full outlet is tried again, and the longest. Milliseconds. */
const FIRST_PAUSE = 10
const LONGEST_PAUSE = 320
/** At the end of the process, a reader that is merely slow gets so long to take what is left. Milliseconds. */
const FAREWELL_MILLIS = 1000
/** One that has not read a byte for this long is not slow but gone. Milliseconds. */
const GONE_MILLIS = 100

/** How a {@link LogSink} is made. */
export interface LogSinkOptions {
  /** 1 for stdout or 2 (default) for stderr. */
  fd?: StandardFd
  /** Most bytes of text kept while nobody reads. Default 262144, minimum 4096. */
  maxBytes?: number
}

interface Entry {
  bytes: Uint8Array
  /** A line of the user's, and not a notice of our own. */
  readonly counts: boolean
}

/**
 * A place for log lines that never blocks the event loop, never holds more than a bounded ring in memory and never
 * keeps the process from ending: what nobody reads is dropped and counted, and "… 1234 lines dropped" said in its
 * place once there is room. Lines keep their order.
 *
 *     write ─► outlet, as long as it takes all
 *         └──► ring [ old … new ] ─► outlet, when it has room again
 *                 └──► full: dropped, counted; until the ring is half empty, so that gaps are few
 */
export class LogSink {
  /** Lines that have left the process. */
  written = 0
  /** Lines that have not, and will not. */
  dropped = 0
  /** Lines that wait in memory. */
  waiting = 0
  /** Those that have lines to write before the process ends. */
  static readonly #unwritten = new Set<LogSink>()
  static #watchesExit = false
  readonly #fd: StandardFd
  readonly #clock: Clock
  readonly #maxBytes: number
  readonly #label: string
  #outlet: Outlet | undefined
  #ring: Entry[] = []
  #ringBytes = 0
  #untold = 0
  #isDropping = false
  #timer: Timer | undefined
  #rounds = 0
  #triedAt = Number.NEGATIVE_INFINITY
  #movedAt = 0
  #farewellSince: number | undefined

  /** @internal @param outlet - for tests; made from the descriptor when the first line comes, otherwise */
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

  /** Would a line be dropped now? Ask before making one that costs something, and then {@link drop} it. */
  get isFull(): boolean {
    if (this.#isDropping && this.#isTime()) this.flush()
    return this.#isDropping
  }

  /** Counts a line that was not even made. */
  drop(): void {
    this.dropped += 1
    this.#untold += 1
  }

  /**
   * Writes one line, with its line break. Synchronous where there is room.
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

  /** Writes what waits, as far as there is room. */
  flush(): void {
    this.#outlet ??= outletOf(this.#fd, () => this.#clock.now())
    const now = this.#clock.now()
    this.#triedAt = now
    let moved = false
    this.#tellDropped()
    while (this.#ring.length > 0) {
      const chunk = this.#chunk()
      const taken = this.#outlet.write(chunk)
      if (taken > 0) moved = true
      this.#took(taken)
      this.#tellDropped()
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

  /** The first entries, as many as a pipe takes in one piece; one that is longer goes alone. */
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

  /** In the place of the lines that are missing: after what is older, before what is accepted from now on. */
  #tellDropped(): void {
    if (this.#untold === 0 || this.#ringBytes > this.#maxBytes / 2) return
    this.#push({ bytes: Buffer.from(`${this.#label}… ${this.#untold} lines dropped\n`), counts: false })
    this.#untold = 0
    this.#isDropping = false
  }

  #isTime(): boolean {
    return this.#clock.now() - this.#triedAt >= FIRST_PAUSE
  }

  #retryLater(): void {
    LogSink.#watchExit(this)
    if (this.#timer !== undefined) return
    // Unref'd: log lines are no reason to go on living.
    this.#timer = this.#clock.after(backoff(this.#rounds, FIRST_PAUSE, LONGEST_PAUSE), () => {
      this.#timer = undefined
      this.flush()
    })
    this.#rounds += 1
  }

  /** One listener each for all sinks, and none of them is kept once it has written what it had. */
  static #watchExit(sink: LogSink): void {
    LogSink.#unwritten.add(sink)
    if (LogSink.#watchesExit) return
    LogSink.#watchesExit = true
    process.on('beforeExit', () => {
      for (const left of LogSink.#unwritten) left.#farewell()
    })
    process.on('exit', () => {
      for (const left of LogSink.#unwritten) {
        left.#isDropping = false
        left.flush()
      }
    })
  }

  /** The process has nothing left to do: a reader that is merely slow gets a moment more. */
  #farewell(): void {
    this.flush()
    if (this.#ring.length === 0) return
    const now = this.#clock.now()
    this.#farewellSince ??= now
    const isGone = now - Math.max(this.#movedAt, this.#farewellSince) > GONE_MILLIS
    if (isGone || now - this.#farewellSince > FAREWELL_MILLIS) return
    this.#timer?.cancel()
    this.#timer = this.#clock.after(FIRST_PAUSE, () => {
      this.#timer = undefined
      this.flush()
    })
    this.#timer.hold(true)
  }
}
