import { messageOf, pointAtCaller } from '../api/errors.ts'
import { notBorrowed } from '../api/messages/error-messages.ts'
import { warnOfNoConnection } from '../api/messages/wrong-arguments.ts'
import type { Connector } from '../connecting/connector.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import type { Fault, Slot } from '../connections/slot.ts'
import type { LeaseHost } from './lease.ts'
import type { Returns } from './returns.ts'

const DONE: Promise<void> = Promise.resolve()

/**
 * How a borrower ends its loan: by `release`, `destroy` or the end of a lease. (The end of `use`: see `UseFrames`.)
 *
 *     the connection is lent                       its loan ends
 *     it is not, as the pool has ended the loan    the first release is accepted, see `Returns.acceptLate`
 *     it is idle or being checked                  `destroy` ends it; `release` is refused
 *     it is another pool's, or has ended           POOL_NOT_BORROWED, and nothing changes
 *
 * If a plain connection has been lent again in the meantime, a second release cannot be told from the new borrower's,
 * and ends that loan. A lease or an adapter's handle knows its own loan and refuses.
 */
export class Releasing<T> implements LeaseHost<T> {
  readonly #context: PoolContext<T>
  readonly #connector: Connector<T>
  readonly #returns: Returns<T>
  readonly #entries: Readonly<Record<'release' | 'destroy', object>>

  constructor(
    context: PoolContext<T>,
    connector: Connector<T>,
    returns: Returns<T>,
    entries: Readonly<Record<'release' | 'destroy', object>>,
  ) {
    this.#context = context
    this.#connector = connector
    this.#returns = returns
    this.#entries = entries
  }

  get stats(): PoolContext<T>['stats'] {
    return this.#context.stats
  }

  /** Ends the loan of this connection. */
  end(resource: T, how: 'release' | 'destroy'): Promise<void> {
    const slot = this.#context.slots.lentSlot(resource)
    if (slot === undefined) return this.#endNotLent(resource, how)
    const sent = this.endLoan(slot, how)
    this.#context.events.flush()
    return sent ?? DONE
  }

  #endNotLent(resource: T, how: 'release' | 'destroy'): Promise<void> {
    if (this.#returns.acceptLate(resource)) return DONE
    if (how === 'destroy' && this.#endUnlent(resource)) return DONE
    return Promise.reject(pointAtCaller(notBorrowed(this.stats(), how, resource), this.#entries[how]))
  }

  /**
   * Marks a connection as unusable. An idle one is destroyed now. A borrower keeps a lent one until the loan ends, and
   * a check in progress ends first.
   * @returns whether it is a connection of this pool
   */
  invalidate(resource: T, why: unknown): boolean {
    const slot = this.#context.slots.slotOf(resource)
    if (slot === undefined) {
      warnOfNoConnection(this.#context.options.name, 'invalidate', resource, 'nothing was changed')
      return false
    }
    const detail = why === undefined ? 'pool.invalidate was called' : messageOf(why)
    this.#markUnusable(slot, { reason: 'invalidated', detail })
    return true
  }

  /** Is this connection lent at the moment? */
  isBorrowed(resource: T): boolean {
    if (this.#context.slots.lentSlot(resource) !== undefined) return true
    // A caller that has nothing yet may well ask.
    if (resource !== undefined && resource !== null)
      warnOfNoConnection(this.#context.options.name, 'isBorrowedResource', resource, 'answered false')
    return false
  }

  /**
   * Destroys a connection that is not lent.
   * @returns whether there is one
   */
  #endUnlent(resource: T): boolean {
    const slot = this.#context.slots.slotOf(resource)
    // While it is lent, only its borrower may end it.
    if (slot === undefined || slot.state === 'lent') return false
    this.#markUnusable(slot, { reason: 'user', detail: undefined })
    return true
  }

  #markUnusable(slot: Slot<T>, fault: Fault): void {
    slot.fault ??= fault
    if (slot.state === 'idle') this.#connector.discard(slot, fault.reason, fault.detail)
    this.#context.events.flush()
  }

  /**
   * Ends the current loan of a slot.
   * @returns see {@link Returns.giveBack}
   */
  endLoan(slot: Slot<T>, how: 'release' | 'destroy'): Promise<void> | undefined {
    if (how === 'release') return this.#returns.giveBack(slot)
    this.#returns.destroy(slot)
    return undefined
  }
}
