import { readRequest } from '../api/acquire-request.ts'
import * as refusals from '../api/error-messages.ts'
import type { AcquirePhase, PoolError } from '../api/errors.ts'
import type { AcquireOptions } from '../api/factory.ts'
import type { House } from '../connecting/connector.ts'
import type { Slot } from '../connections/slot.ts'
import { handOver } from '../nested/awaiters.ts'
import type { Entry } from '../nested/nesting.ts'
import { type Call, Grant, newPending, type Request, Waiter } from '../queue/waiter.ts'
import type { Sampling } from '../runtime/stack-sampler.ts'
import type { Lending } from './lending.ts'
import type { Lifecycle } from './lifecycle.ts'
import { phaseOf } from './rejections.ts'

/** How an acquire comes to its connection: from the idle ones at once, or by way of the queue, or not at all. */
export class Admission<T> {
  readonly #house: House<T>
  readonly #lending: Lending<T>
  readonly #lifecycle: Lifecycle<T>
  readonly #sampling: Sampling
  /** What an acquire without options asks for. */
  readonly #plain: Request

  constructor(house: House<T>, lending: Lending<T>, lifecycle: Lifecycle<T>, sampling: Sampling) {
    this.#house = house
    this.#lending = lending
    this.#lifecycle = lifecycle
    this.#sampling = sampling
    const timeout = house.options.acquireTimeoutMillis
    this.#plain = { priority: 0, timeout, signal: undefined, detached: false }
  }

  /** The fast path: nobody waits, and an idle connection is fit to be lent. */
  lendIdle(): Slot<T> | undefined {
    if (this.#house.gate.waiting > 0 || this.#lifecycle.state !== 'open') return undefined
    const now = this.#house.clock.now()
    const slot = this.#lending.take(now, 0, Number.NEGATIVE_INFINITY)
    if (slot !== undefined) this.#lending.lend(slot, now, 0)
    // Before the work starts that `use` runs in this very call.
    this.#house.events.tellNow()
    return slot
  }

  /** The other path: options to read, somebody before us, or nothing at hand. */
  enter(given: number | AcquireOptions | undefined, call: Call, from: Entry): Promise<T | Grant<T>> {
    const { options, clock, gate, nesting, stats } = this.#house
    if (this.#lifecycle.state !== 'open') return Promise.reject(refusals.closed(stats()))
    let request: Request
    try {
      request = readRequest(given, options, this.#plain, stats)
    } catch (error) {
      return Promise.reject(error)
    }
    const { signal } = request
    if (signal?.aborted) return Promise.reject(refusals.aborted(stats(), 0, signal.reason))
    this.#lifecycle.start()
    const slot = given === undefined ? undefined : this.lendIdle()
    if (slot !== undefined) {
      if (this.#sampling.affords(slot.lentAt)) slot.trace = this.#sampling.take(from, slot.lentAt)
      nesting?.begin(slot, call === 'use', request.detached, from)
      const served = Promise.resolve(call === 'acquire' ? (slot.lent as T) : new Grant(slot))
      return slot.trace === undefined || call === 'use' ? served : gainedBy(served, slot)
    }
    const refusal = this.#refusal(request)
    if (refusal !== undefined) return Promise.reject(refusal)
    // A hook that ran on the way may have aborted it.
    if (signal?.aborted) return Promise.reject(refusals.aborted(stats(), 0, signal.reason))
    const now = clock.now()
    const promise = newPending<T | Grant<T>>()
    const waiter = new Waiter<T>(request, now, call)
    if (this.#sampling.affords(now)) waiter.own.trace = this.#sampling.take(from, now)
    else this.#sampling.waiting()
    const { breaker } = this.#lending.supply
    if (breaker.isOpen) waiter.own.opening = breaker.openings
    const served = nesting === undefined ? promise : nesting.queued(waiter, promise, from)
    gate.enqueue(waiter, request)
    this.#lending.serve(now)
    return served
  }

  /** What it would have to wait for who will not wait. */
  #missing(): AcquirePhase {
    const { supply } = this.#lending
    const { gate, roster } = this.#house
    if (roster.census.idle > 0 && gate.waiting === 0) return 'validate'
    const phase = phaseOf(this.#house, supply.breaker)
    return phase === 'queue' && supply.spare > 0 ? 'connect' : phase
  }

  /** Why an acquire is not even let into the queue. */
  #refusal(request: Request): PoolError | undefined {
    const { supply } = this.#lending
    const { options, gate, roster, totals, events, stats } = this.#house
    if (supply.isDown) return refusals.unhealthy(stats(), supply.breaker.lastError)
    if (request.timeout === 0 && !this.#lending.isSettling)
      return refusals.noneAtHand(stats(), this.#missing(), supply.breaker.lastError)
    if (gate.rate !== undefined) {
      const estimate = gate.rate.estimate(gate.ahead(request.priority))
      if (estimate !== undefined && estimate > request.timeout && supply.headroom <= 0) {
        totals.shed += 1
        events.announce('shed', { pool: options.name, waitedMillis: 0, estimatedMillis: estimate })
        return refusals.hopeless(stats(), estimate, request.timeout)
      }
    }
    const most = options.maxWaitingClients
    if (most === Number.POSITIVE_INFINITY) return undefined
    const served = supply.headroom > -most || roster.census.idle > 0
    return served ? undefined : refusals.queueFull(stats(), most)
  }
}

/** For a plain loan whose stack was taken: it is noted who gets it. */
export function gainedBy<T, R>(served: Promise<R>, slot: Slot<T>): Promise<R> {
  return slot.scope === undefined ? served : handOver(served, slot.scope)
}
