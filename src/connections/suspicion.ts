import type { Slot } from './slot.ts'

/** Connections that fail within this time of the first one fail with it: one wave, not one for each. Milliseconds. */
const WAVE_MILLIS = 1000

/**
 * One connection found dead casts doubt on those that were idle at that moment: they prove themselves before they are
 * lent. One that was closed or reset leaves traces in the kernel, so a look is proof enough; one that no longer
 * answers leaves none, and only a round trip is proof.
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

  /** When a wave of closed connections was last seen to begin. */
  get closedAt(): number {
    return this.#closedAt
  }

  /** Since when a look must have found the connection good; undefined if one has. */
  since<T>(slot: Slot<T>): number | undefined {
    // Mostly it became idle after the last suspicion.
    if (slot.idleSince >= this.#closedAt) return undefined
    return Math.max(slot.lookedAt, slot.provenAt) < this.#closedAt ? this.#closedAt : undefined
  }

  /** Must the connection answer a round trip before it is lent? */
  wantsAnswer<T>(slot: Slot<T>): boolean {
    return slot.idleSince < this.#silentAt && slot.provenAt < this.#silentAt
  }
}
