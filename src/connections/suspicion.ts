import type { Slot } from './slot.ts'

/** Connections that fail within this time of the first one count as one wave. Milliseconds. */
const WAVE_MILLIS = 1000

/**
 * When a connection is found dead, those that were idle at that moment become suspect: they must be checked before they
 * are lent. After a close or reset, a check in the kernel is enough, because it leaves a trace there. If a connection
 * no longer answers, there is no trace, and only a round trip can prove the others.
 */
export class Suspicion {
  #closedAt = Number.NEGATIVE_INFINITY
  #silentAt = Number.NEGATIVE_INFINITY

  /** @returns whether this starts a new wave */
  raise(kind: 'closed' | 'silent', now: number): boolean {
    const last = kind === 'closed' ? this.#closedAt : this.#silentAt
    if (now - last < WAVE_MILLIS) return false
    if (kind === 'closed') this.#closedAt = now
    else this.#silentAt = now
    return true
  }

  /** When the latest wave of closed connections began. */
  get closedAt(): number {
    return this.#closedAt
  }

  /** The time after which the connection must be checked; undefined if it was checked since then. */
  since<T>(slot: Slot<T>): number | undefined {
    // The usual case: it became idle after the last suspicion.
    if (slot.idleSince >= this.#closedAt) return undefined
    return Math.max(slot.lookedAt, slot.provenAt) < this.#closedAt ? this.#closedAt : undefined
  }

  /** Must the connection answer a round trip before it is lent? */
  wantsAnswer<T>(slot: Slot<T>): boolean {
    return slot.idleSince < this.#silentAt && slot.provenAt < this.#silentAt
  }
}
