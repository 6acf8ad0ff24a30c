import genericPool, { type Pool as GenericPool } from 'generic-pool'
import { attempt, type Bounds } from './deadline.ts'
import { PoolError } from './errors.ts'
import type { ResolvedOptions } from './options.ts'
import type { Slot } from './slot.ts'
import type { Factory } from './types.ts'

/**
 * generic-pool behind one door. It makes connections and ends them; a connection is borrowed from it once, when it is
 * made, and given back to be destroyed. Lending is ours.
 *
 * Its resources are our slots, and the factory that it gets never rejects, never throws and never hangs: a failed
 * create is a slot without a connection. So none of its retry, queue and error paths is ever taken. What it hands out
 * for one `open` may be the slot of another that was faster; they are interchangeable. Its own `max` counts only what
 * it has not begun to destroy, so the bound on sockets is kept by the permits of `Supply`.
 */
export class Engine<T> {
  readonly #generic: GenericPool<Slot<T>>
  readonly #factory: Factory<T>
  readonly #options: ResolvedOptions
  readonly #bounds: Bounds
  readonly #onDestroyError: (error: unknown) => void
  /** Slots for which generic-pool has not called create yet. */
  readonly #toOpen: Slot<T>[] = []

  constructor(
    factory: Factory<T>,
    options: ResolvedOptions,
    bounds: Bounds,
    onDestroyError: (error: unknown) => void,
  ) {
    this.#factory = factory
    this.#options = options
    this.#bounds = bounds
    this.#onDestroyError = onDestroyError
    this.#generic = genericPool.createPool(
      { create: () => this.#create(), destroy: slot => this.#destroy(slot) },
      { max: Number.MAX_SAFE_INTEGER, min: 0, evictionRunIntervalMillis: 0 },
    )
  }

  /** Starts one create. @returns a slot whose create has ended, well (`resource`) or badly (`failure`) */
  open(slot: Slot<T>): Promise<Slot<T>> {
    this.#toOpen.push(slot)
    return this.#generic.acquire()
  }

  /** Ends a slot. @returns settles when the connection is closed, or its deadline has passed; never rejects */
  close(slot: Slot<T>): Promise<void> {
    // generic-pool calls our destroy, which sets `closed`, before it returns.
    this.#generic.destroy(slot).catch(this.#onDestroyError)
    return slot.closed ?? this.#destroy(slot)
  }

  /** Ends a connection that no slot owns any more. */
  async discard(resource: T): Promise<void> {
    const ended = await attempt(
      () => this.#factory.destroy(resource),
      this.#options.destroyTimeoutMillis,
      this.#bounds,
    )
    if (ended.ok) return
    this.#onDestroyError(
      ended.timedOut
        ? new Error(
            `destroy timed out after ${this.#options.destroyTimeoutMillis} ms: pool '${this.#options.name}' ` +
              'no longer counts the connection; see whether factory.destroy can hang, or raise destroyTimeoutMillis',
          )
        : ended.error,
    )
  }

  async #create(): Promise<Slot<T>> {
    const slot = this.#toOpen.shift()
    if (slot === undefined)
      throw new Error('lifeguard-pool bug: generic-pool creates more than it was asked for')
    const { createTimeoutMillis, name } = this.#options
    const made = await attempt(
      signal => this.#factory.create(signal),
      createTimeoutMillis,
      this.#bounds,
      late => void this.discard(late),
      slot.dial,
    )
    if (made.ok) slot.resource = made.value
    else if (made.timedOut) {
      const error = new PoolError(
        'POOL_CONNECT_FAILED',
        `pool '${name}': connecting took longer than ${createTimeoutMillis} ms. If the server is merely slow, raise ` +
          'createTimeoutMillis; if it accepts and stays silent, look at the server or at what stands in between',
        { pool: name, cause: made.error },
      )
      slot.failure = { error }
    } else slot.failure = { error: made.error }
    return slot
  }

  #destroy(slot: Slot<T>): Promise<void> {
    slot.closed ??= slot.failure === undefined ? this.discard(slot.resource as T) : Promise.resolve()
    return slot.closed
  }
}
