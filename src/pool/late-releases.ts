import type { Slot } from '../connections/slot.ts'

/**
 * What was lent as the pool itself ended its loan: a lease that looked forgotten, or a close that was forced. Its
 * borrower could not know, so its first release or destroy after that is no mistake.
 */
export class LateReleases {
  readonly #objects = new WeakSet<object>()
  /** Few: pools of plain values are rare. */
  readonly #values = new Set<unknown>()

  /** Its borrower will give it back later. */
  expect<T>(slot: Slot<T>): void {
    const { lent: resource } = slot
    slot.wasEndedByPool = true
    if ((typeof resource === 'object' && resource !== null) || typeof resource === 'function')
      this.#objects.add(resource)
    else this.#values.add(resource)
  }

  /** Is this the first late release? Then its caller has made no mistake. */
  take(resource: unknown): boolean {
    return this.#values.delete(resource) || this.#objects.delete(resource as object)
  }
}
