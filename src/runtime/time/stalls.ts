import { STALL_MILLIS, type StallListener } from './alarm.ts'
import type { StallMonitor } from './stall-monitor.ts'

/** How many stalls are kept. */
const MOST_KEPT = 64

/**
 * A deadline is extended by at most this many milliseconds at a time because of stalls, and at most `MAX_GRACES` times.
 */
export const MAX_GRACE_MILLIS = 100
const MAX_GRACES = 3

/** A period in which the event loop was blocked, in milliseconds of the pool's clock. */
interface Stall {
  readonly until: number
  readonly millis: number
}

/** The stalls of the event loop since the pool was created. */
export class Stalls implements StallListener {
  count = 0
  totalMillis = 0
  longestMillis = 0
  /** The latest stalls, oldest first. They do not overlap. */
  readonly recent: Stall[] = []
  readonly #monitor: StallMonitor
  /** Is called with the length of each stall, in milliseconds. */
  onStall: (millis: number) => void = () => {}
  #leave: (() => void) | undefined

  constructor(monitor: StallMonitor) {
    this.#monitor = monitor
  }

  /** Starts measuring: from now on the pool has something that a stall can harm. */
  start(): void {
    this.#leave ??= this.#monitor.join(this)
  }

  get last(): Stall | undefined {
    return this.recent.at(-1)
  }

  /** @internal Records a stall. A part of it may have been recorded before. */
  add(until: number, millis: number): void {
    const start = Math.max(until - millis, this.last?.until ?? Number.NEGATIVE_INFINITY)
    const added = until - start
    if (added < STALL_MILLIS) return
    this.count += 1
    this.totalMillis += added
    this.longestMillis = Math.max(this.longestMillis, added)
    this.recent.push({ until, millis: added })
    if (this.recent.length > MOST_KEPT) this.recent.shift()
    this.onStall(added)
  }

  /** Called when a timer fires late, see {@link StallListener}. */
  late(millis: number): boolean {
    return this.#monitor.late(millis)
  }

  /** Records the stall that the current turn may be part of. */
  update(): void {
    this.#monitor.update()
  }

  /** For how many milliseconds since `start` the event loop was blocked. */
  since(start: number): number {
    this.#monitor.update()
    return this.knownSince(start)
  }

  /** The same, without the stall that the current turn may be part of. */
  knownSince(start: number): number {
    let sum = 0
    for (let index = this.recent.length - 1; index >= 0; index -= 1) {
      const { until, millis } = this.recent[index] as Stall
      if (until <= start) break
      sum += until - Math.max(start, until - millis)
    }
    return sum
  }

  /**
   * By how many milliseconds a deadline that has passed is to be extended. The event loop must have run for the last
   * 100 ms before the deadline. The turn that follows a stall delivers what is already in the kernel. That is not
   * enough when the next step is a command that could not be sent before: a handshake with several round trips, a PING,
   * or the last query of a lease.
   *
   * @param times - how often it has been extended already
   */
  grace(start: number, deadline: number, now: number, times: number): number {
    if (times === MAX_GRACES) return 0
    const from = Math.max(start, deadline - MAX_GRACE_MILLIS)
    const ran = now - from - this.since(from)
    return Math.max(deadline - from - ran, 0)
  }

  /** Called when the pool has ended. */
  stop(): void {
    this.#leave?.()
  }
}
