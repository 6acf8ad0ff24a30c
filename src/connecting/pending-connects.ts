import type { Slot } from '../connections/slot.ts'

/** A dial that is this many times slower than one that just succeeded, and this old, is no longer counted on. */
const OVERTAKEN_TIMES = 4
const OVERTAKEN_MILLIS = 100
/** A caller who gave up within this time says nothing about the dial that it waited for. */
const IMPATIENT_MILLIS = 50

/** Dials in flight that somebody can count on, oldest first. One that hangs leaves this set, not its permit. */
export class PendingConnects<T> extends Set<Slot<T>> {
  /** A waiter has left in vain. A dial that it has outwaited is not worth the next one's trust. */
  waiterLeft(waited: number, now: number, impatient: boolean): void {
    const [oldest] = this
    if (oldest === undefined || (impatient && waited < IMPATIENT_MILLIS)) return
    if (now - oldest.startedAt >= waited * 0.9) this.delete(oldest)
  }

  /** Old dials that a young one has overtaken by far: whoever waits for them gets a new one. */
  dropOvertaken(winner: Slot<T>, now: number): void {
    const patience = Math.max(OVERTAKEN_TIMES * (now - winner.startedAt), OVERTAKEN_MILLIS)
    for (const dial of this) {
      if (now - dial.startedAt <= patience) return
      this.delete(dial)
    }
  }
}
