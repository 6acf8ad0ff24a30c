import genericPool, { type Pool as GenericPool } from 'generic-pool'
import type { CreateMessage } from '../api/channels.ts'
import { PoolError } from '../api/errors.ts'
import { connectTimeout, destroyTimeout, madeTwice } from '../api/messages/error-messages.ts'
import { show } from '../api/options/read-input.ts'
import { badOptions } from '../api/options/resolve-options.ts'
import { retireBeforeExpiry } from '../connections/lifetime.ts'
import type { Slot } from '../connections/slot.ts'
import { unlessAborted } from '../runtime/abort.ts'
import { createChannel, endOperation, runOperation } from '../runtime/channels.ts'
import { withoutSpans } from '../runtime/otel-context.ts'
import { askHook } from '../runtime/sync-hooks.ts'
import { attempt } from '../runtime/time/attempt.ts'
import { timeOfDay } from '../runtime/time/clock.ts'
import type { PoolContext } from './pool-context.ts'

/**
 * The only access to generic-pool. It creates and ends connections: each connection is borrowed from generic-pool once,
 * when it is created, and returned to be destroyed. Lending is done by this package.
 *
 * generic-pool's resources are our slots. The factory that it is given never rejects, throws or hangs: a failed create
 * is a slot without a connection. So its retry, queue and error paths are never used. For one `open` it may return the
 * slot of another that was faster. They are interchangeable. Its `max` does not count resources that are being
 * destroyed, so the permits of the connector limit the number of sockets instead.
 */
export class Engine<T> {
  readonly #generic: GenericPool<Slot<T>>
  readonly #context: PoolContext<T>
  readonly #onDestroyError: (error: unknown) => void
  /** Slots for which generic-pool has not called `create` yet. */
  readonly #toOpen: Slot<T>[] = []

  constructor(context: PoolContext<T>, onDestroyError: (error: unknown) => void) {
    this.#context = context
    this.#onDestroyError = onDestroyError
    this.#generic = genericPool.createPool(
      { create: () => this.#create(), destroy: slot => this.#destroy(slot) },
      { max: Number.MAX_SAFE_INTEGER, min: 0, evictionRunIntervalMillis: 0 },
    )
  }

  /**
   * Starts one create.
   * @returns a slot whose create has ended, well (`resource`) or badly (`failure`)
   */
  open(slot: Slot<T>): Promise<Slot<T>> {
    this.#toOpen.push(slot)
    return withoutSpans(() => this.#generic.acquire())
  }

  /**
   * Ends a slot.
   * @returns settles when the connection is closed or its deadline has passed; never rejects
   */
  close(slot: Slot<T>): Promise<void> {
    // generic-pool calls our `destroy`, which sets `closed`, before it returns.
    this.#generic.destroy(slot).catch(this.#onDestroyError)
    return slot.closed ?? this.#destroy(slot)
  }

  /** Ends a connection that no slot owns any more. */
  async discard(resource: T): Promise<void> {
    const { factory, options, stats } = this.#context
    const ended = await attempt(() => factory.destroy(resource), options.destroyTimeoutMillis, this.#context)
    if (ended.ok) return
    const { destroyTimeoutMillis } = options
    this.#onDestroyError(ended.timedOut ? destroyTimeout(stats(), destroyTimeoutMillis) : ended.error)
  }

  async #create(): Promise<Slot<T>> {
    const slot = this.#toOpen.shift()
    if (slot === undefined)
      throw new Error('lifeguard-pool bug: generic-pool creates more than it was asked for')
    const { factory, options, stats, clock, identity } = this.#context
    const message: CreateMessage | undefined = createChannel.hasSubscribers
      ? { ...identity(), connection: slot.id, millis: undefined }
      : undefined
    const create = (signal: AbortSignal): T | Promise<T> =>
      factory.prepare === undefined && factory.expiresAt === undefined
        ? factory.create(signal)
        : this.#make(slot, signal)
    const made = await attempt(
      signal =>
        message === undefined ? create(signal) : runOperation(createChannel, message, () => create(signal)),
      options.createTimeoutMillis,
      this.#context,
      late => this.#createdLate(late),
      slot.createAbort,
    )
    slot.createAbort = undefined
    if (made.ok) slot.resource = made.value
    else {
      const { createTimeoutMillis } = options
      slot.failure = {
        error: made.timedOut ? connectTimeout(stats(), createTimeoutMillis, made.error) : made.error,
        timedOut: made.timedOut,
      }
    }
    if (message !== undefined) {
      message.millis = clock.now() - slot.startedAt
      endOperation(createChannel, message, slot.failure)
    }
    return slot
  }

  /** Calls `create`, then `prepare` and `expiresAt`. If one of those fails or is too late, the connection is closed. */
  async #make(slot: Slot<T>, signal: AbortSignal): Promise<T> {
    const { factory, clock, random } = this.#context
    const resource = await factory.create(signal)
    // It is too late: `attempt` passes this connection to `#createdLate`, which closes it.
    if (signal.aborted) return resource
    try {
      await unlessAborted(signal, Promise.resolve(factory.prepare?.(resource, signal)))
      if (signal.aborted) throw signal.reason
      const expiresAt = askHook('expiresAt', () => factory.expiresAt?.(resource))
      if (expiresAt !== undefined)
        slot.retireAt = retireBeforeExpiry(clock.now(), millisLeft(expiresAt), random)
    } catch (error) {
      void this.discard(resource)
      throw error
    }
    return resource
  }

  #createdLate(resource: T): void {
    const { slots, stats, clock } = this.#context
    // Waits for one turn: if several creates returned the same promise, the real owner gets its resource in this turn.
    clock.turn(() => {
      if (slots.owns(resource)) this.#onDestroyError(madeTwice(stats(), resource))
      else void this.discard(resource)
    })
  }

  #destroy(slot: Slot<T>): Promise<void> {
    slot.closed ??= slot.failure === undefined ? this.discard(slot.resource as T) : Promise.resolve()
    return slot.closed
  }
}

/** For how long a new connection can be used. One that has expired already counts as a failure to connect. */
function millisLeft(expiresAt: unknown): number {
  if (typeof expiresAt !== 'number' || Number.isNaN(expiresAt)) {
    throw badOptions(
      [`factory.expiresAt must give a time of day in milliseconds since 1970, got ${show(expiresAt)}`],
      undefined,
      undefined,
      'what factory.expiresAt gave',
    )
  }
  const left = expiresAt - timeOfDay()
  if (left > 0) return left
  throw new PoolError(
    'POOL_CONNECT_FAILED',
    `a new connection had expired ${Math.round(-left)} ms before it could be lent: see factory.expiresAt`,
  )
}
