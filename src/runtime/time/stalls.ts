import { STALL_MILLIS, type StallListener } from './alarm.ts'
import type { StallMonitor } from './stall-monitor.ts'

/** So many are kept. */
const MOST = 64

/** A deadline is put off for stalls by at most so much at a time, in milliseconds, and so often. */
export const MAX_GRACE_MILLIS = 100
const MAX_GRACES = 3

/** A time for which the event loop stood still, in milliseconds of the pool's clock. */
export interface Stall {
  readonly until: number
  readonly millis: number
}

/** The stalls of the event loop since the pool was made. */
export class Stalls implements StallListener {
  count = 0
  totalMillis = 0
  longestMillis = 0
  /** The last ones, oldest first. They do not overlap. */
  readonly recent: Stall[] = []
  readonly #meter: StallMonitor
  /** Told of each stall. */
  onStall: (millis: number) => void = () => {}
  #leave: (() => void) | undefined

  constructor(meter: StallMonitor) {
    this.#meter = meter
  }

  /** Starts to measure: from now on the pool has something that a stall can harm. */
  start(): void {
    this.#leave ??= this.#meter.join(this)
  }

  get last(): Stall | undefined {
    return this.recent.at(-1)
  }

  /** @internal The loop stood still; some of it may be known already. */
  add(until: number, millis: number): void {
    const start = Math.max(until - millis, this.last?.until ?? Number.NEGATIVE_INFINITY)
    const added = until - start
    if (added < STALL_MILLIS) return
    this.count += 1
    this.totalMillis += added
    this.longestMillis = Math.max(this.longestMillis, added)
    this.recent.push({ until, millis: added })
    if (this.recent.length > MOST) this.recent.shift()
    this.onStall(added)
  }

  /** Told how late a timer fires, see {@link StallListener}. */
  late(millis: number): boolean {
    return this.#meter.late(millis)
  }

  /** Counts the stretch that this call may be part of. */
  update(): void {
    this.#meter.update()
  }

  /** How many milliseconds since then the loop stood still. */
  since(start: number): number {
    this.#meter.update()
    return this.noted(start)
  }

  /** The same, without the stretch that this call may be part of. */
  noted(start: number): number {
    let sum = 0
    for (let index = this.recent.length - 1; index >= 0; index -= 1) {
      const { until, millis } = this.recent[index] as Stall
      if (until <= start) break
      sum += until - Math.max(start, until - millis)
    }
    return sum
  }

  /**
   * By how much a deadline that has come is to be put off: the event loop has to have run for its last 100 ms. The
   * turn that follows a stall delivers what lies in the kernel; that is too little where the next step is a command
   * that could not be sent: a handshake of several round trips, a PING, the last query of a holder.
   *
   * @param times - how often it has been put off
   */
  grace(start: number, deadline: number, now: number, times: number): number {
    if (times === MAX_GRACES) return 0
    const from = Math.max(start, deadline - MAX_GRACE_MILLIS)
    const ran = now - from - this.since(from)
    return Math.max(deadline - from - ran, 0)
  }

  /** The pool has ended. */
  stop(): void {
    this.#leave?.()
  }
}
