import type { Slot } from '../connections/slot.ts'

/**
 * The resources that were lent when the pool itself ended their loans: a lease looked forgotten, a server did not
 * respond, or a close was forced. The borrower could not know this, so its first release or destroy after that is no
 * mistake.
 */
export class LateReleases {
  readonly #objects = new WeakSet<object>()
  /** For resources that are no objects. Such pools are rare. */
  readonly #values = new Set<unknown>()

  /** Expects the borrower of this slot to return it later. */
  expect<T>(slot: Slot<T>): void {
    const { lent: resource } = slot
    slot.wasEndedByPool = true
    if ((typeof resource === 'object' && resource !== null) || typeof resource === 'function')
      this.#objects.add(resource)
    else this.#values.add(resource)
  }

  /** Is this the first late release of the resource? Then its caller has made no mistake. */
  accept(resource: unknown): boolean {
    return this.#values.delete(resource) || this.#objects.delete(resource as object)
  }
}
