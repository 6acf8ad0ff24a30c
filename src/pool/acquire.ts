import { type Request, readRequest } from '../api/acquire-request.ts'
import * as refusals from '../api/error-messages.ts'
import type { AcquirePhase, PoolError } from '../api/errors.ts'
import type { AcquireOptions } from '../api/options.ts'
import { phaseOf } from '../connecting/capacity.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import { Grant, type Slot } from '../connections/slot.ts'
import { noteOwners } from '../nested/awaiters.ts'
import type { Entry } from '../nested/host.ts'
import { type Call, newPending, Waiter } from '../queue/waiter.ts'
import type { StackSampler } from '../runtime/stack-sampler.ts'
import type { Lending } from './lending.ts'
import type { Lifecycle } from './lifecycle.ts'

/** How an acquire comes to its connection: from the idle ones at once, or by way of the queue, or not at all. */
export class Acquiring<T> {
  readonly #context: PoolContext<T>
  readonly #lending: Lending<T>
  readonly #lifecycle: Lifecycle<T>
  readonly #sampler: StackSampler
  /** What an acquire without options asks for. */
  readonly #defaultRequest: Request

  constructor(context: PoolContext<T>, lending: Lending<T>, lifecycle: Lifecycle<T>, sampler: StackSampler) {
    this.#context = context
    this.#lending = lending
    this.#lifecycle = lifecycle
    this.#sampler = sampler
    const timeout = context.options.acquireTimeoutMillis
    this.#defaultRequest = { priority: 0, timeout, signal: undefined, detached: false }
  }

  /** The fast path: nobody waits, and an idle connection is fit to be lent. */
  lendIdle(): Slot<T> | undefined {
    if (this.#context.queue.waiting > 0 || this.#lifecycle.state !== 'open') return undefined
    const now = this.#context.clock.now()
    const slot = this.#lending.findFit(now, 0, Number.NEGATIVE_INFINITY)
    if (slot !== undefined) this.#lending.lend(slot, now, 0)
    // Before the work starts that `use` runs in this very call.
    this.#context.events.flush()
    return slot
  }

  /** The other path: options to read, somebody before us, or nothing at hand. */
  enter(given: number | AcquireOptions | undefined, call: Call, from: Entry): Promise<T | Grant<T>> {
    const { options, clock, queue, nesting, stats } = this.#context
    if (this.#lifecycle.state !== 'open') return Promise.reject(refusals.closed(stats()))
    let request: Request
    try {
      request = readRequest(given, options, this.#defaultRequest, stats)
    } catch (error) {
      return Promise.reject(error)
    }
    const { signal } = request
    if (signal?.aborted) return Promise.reject(refusals.aborted(stats(), 0, signal.reason))
    this.#lifecycle.start()
    const slot = given === undefined ? undefined : this.lendIdle()
    if (slot !== undefined) {
      if (this.#sampler.affords(slot.lentAt)) slot.trace = this.#sampler.capture(from, slot.lentAt)
      if (slot.trace !== undefined && !request.detached) nesting?.warnings.look(slot.trace, slot.lentAt)
      if (call !== 'use') nesting?.plainScope(given)?.begin(slot)
      const served = Promise.resolve(call === 'acquire' ? (slot.lent as T) : new Grant(slot))
      return slot.trace === undefined || call === 'use' ? served : noteOwners(served, slot.trace)
    }
    const refusal = this.#refusal(request)
    if (refusal !== undefined) return Promise.reject(refusal)
    // A hook that ran on the way may have aborted it.
    if (signal?.aborted) return Promise.reject(refusals.aborted(stats(), 0, signal.reason))
    const now = clock.now()
    const promise = newPending<T | Grant<T>>()
    const waiter = new Waiter<T>(request, now, call)
    if (this.#sampler.affords(now)) waiter.own.trace = this.#sampler.capture(from, now)
    else this.#sampler.waiting()
    const { breaker } = this.#lending.connector
    if (breaker.isOpen) waiter.own.breakerOpening = breaker.openings
    const { trace } = waiter.particulars
    if (trace !== undefined && !request.detached) nesting?.warnings.look(trace, now)
    if (nesting !== undefined) {
      nesting.detector.watch(now)
      const scope = call === 'use' ? undefined : nesting.plainScope(given)
      if (scope !== undefined) waiter.own.scope = scope
    }
    const served = trace === undefined || call === 'use' ? promise : noteOwners(promise, trace)
    queue.enqueue(waiter, request)
    this.#lending.serve(now)
    return served
  }

  /** What it would have to wait for who will not wait. */
  #blockingPhase(): AcquirePhase {
    const { connector } = this.#lending
    const { queue, slots } = this.#context
    if (slots.counts.idle > 0 && queue.waiting === 0) return 'validate'
    const phase = phaseOf(this.#context, connector.breaker)
    return phase === 'queue' && connector.freePermits > 0 ? 'connect' : phase
  }

  /** Why an acquire is not even let into the queue. */
  #refusal(request: Request): PoolError | undefined {
    const { connector } = this.#lending
    const { options, queue, slots, totals, events, stats } = this.#context
    if (connector.isDown) return refusals.unhealthy(stats(), connector.breaker.lastError)
    if (request.timeout === 0 && !this.#lending.awaitsEventLoop)
      return refusals.noneAtHand(stats(), this.#blockingPhase(), connector.breaker.lastError)
    if (queue.serviceRate !== undefined) {
      const estimate = queue.serviceRate.estimate(queue.ahead(request.priority))
      if (estimate !== undefined && estimate > request.timeout && connector.expected <= 0) {
        totals.shed += 1
        events.announce('shed', { pool: options.name, waitedMillis: 0, estimatedMillis: estimate })
        return refusals.hopeless(stats(), estimate, request.timeout)
      }
    }
    const most = options.maxWaitingClients
    if (most === Number.POSITIVE_INFINITY) return undefined
    const served = connector.expected > -most || slots.counts.idle > 0
    return served ? undefined : refusals.queueFull(stats(), most)
  }
}
