import type { Request } from '../api/acquire-request.ts'
import { readRequest } from '../api/acquire-request.ts'
import type { UseMessage } from '../api/channels.ts'
import * as refusals from '../api/error-messages.ts'
import type { AcquirePhase, PoolError } from '../api/errors.ts'
import type { AcquireOptions } from '../api/options.ts'
import { phaseOf } from '../connecting/capacity.ts'
import type { Connector } from '../connecting/connector.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import { Grant, isCurrent, type Slot } from '../connections/slot.ts'
import { noteOwners } from '../nested/awaiters.ts'
import type { Entry } from '../nested/host.ts'
import type { Nesting } from '../nested/nesting.ts'
import { endsAlone, unshare } from '../nested/reuse.ts'
import type { Scope } from '../nested/scope.ts'
import { type Call, Waiter } from '../queue/waiter.ts'
import { acquireChannel, endOperation, runOperation, TracedAcquire, useChannel } from '../runtime/channels.ts'
import type { StackSampler } from '../runtime/stack-sampler.ts'
import { Lease, type LeaseHost } from './lease.ts'
import type { Lending } from './lending.ts'
import type { Lifecycle } from './lifecycle.ts'

type Work<T, R> = (resource: T) => R | PromiseLike<R>
type Given = number | AcquireOptions | undefined

/** The functions that the user calls: stacks begin above them. */
export type EntryPoints = Readonly<Record<Call, Entry>>

const DONE: Promise<void> = Promise.resolve()

/**
 * How an acquire gets its connection, and how its loan ends: the same way for `acquire`, `use` and `lease`.
 *
 *     refused by nested: 'forbid' ─► shared by nested: 'reuse' ─► an idle connection, at once ─► the queue
 */
export class Acquiring<T> implements LeaseHost<T> {
  readonly #context: PoolContext<T>
  readonly #lending: Lending<T>
  readonly #connector: Connector<T>
  readonly #lifecycle: Lifecycle<T>
  readonly #sampler: StackSampler
  readonly #entries: EntryPoints
  readonly #nesting: Nesting<T> | undefined
  /** The same where a nested acquire is not simply served. */
  readonly #strict: Nesting<T> | undefined
  /** What an acquire without options asks for. */
  readonly #defaultRequest: Request

  constructor(context: PoolContext<T>, lending: Lending<T>, lifecycle: Lifecycle<T>, entries: EntryPoints) {
    const { options, nesting } = context
    this.#context = context
    this.#lending = lending
    this.#connector = lending.connector
    this.#lifecycle = lifecycle
    this.#sampler = context.sampler
    this.#entries = entries
    this.#nesting = nesting
    this.#strict = options.nested === 'detect' ? undefined : nesting
    const timeout = options.acquireTimeoutMillis
    this.#defaultRequest = { priority: 0, timeout, signal: undefined, detached: false }
  }

  get stats(): PoolContext<T>['stats'] {
    return this.#context.stats
  }

  acquire(given: Given): Promise<T> {
    const traced = acquireChannel.hasSubscribers ? this.#trace('acquire') : undefined
    const refusal = this.#strict?.refusal(given, this.#entries.acquire)
    if (refusal !== undefined) return refuse(refusal, traced)
    const slot = given === undefined ? this.#lendIdle() : undefined
    if (slot === undefined) return this.#enter(given, 'acquire', traced) as Promise<T>
    this.#begin(slot, 'acquire', false, traced)
    return slot.trace === undefined ? promiseOf(slot) : noteOwnersOf(promiseOf(slot), slot)
  }

  use<R>(work: Work<T, R>, given: Given): Promise<R> {
    const refusal = this.#strict?.refusal(given, this.#entries.use)
    if (refusal !== undefined)
      return refuse(refusal, acquireChannel.hasSubscribers ? this.#trace('use') : undefined)
    const share = this.#strict?.shared(given, true, this.#entries.use)
    if (share === undefined) return this.#use(work, given)
    return this.#strict?.within(share, () => this.#useShared(share, work)) as Promise<R>
  }

  async lease(given: Given): Promise<Lease<T>> {
    const traced = acquireChannel.hasSubscribers ? this.#trace('lease') : undefined
    const refusal = this.#strict?.refusal(given, this.#entries.lease)
    if (refusal !== undefined) return refuse(refusal, traced)
    const slot = given === undefined ? this.#lendIdle() : undefined
    if (slot === undefined) {
      const grant = (await this.#enter(given, 'lease', traced)) as Grant<T>
      return new Lease(grant.slot, grant.loan, this)
    }
    this.#begin(slot, 'lease', false, traced)
    const { loan } = slot
    if (slot.trace !== undefined) await noteOwnersOf(DONE, slot)
    return new Lease(slot, loan, this)
  }

  /** Ends a loan at its borrower's wish, who names the connection. */
  end(resource: T, how: 'release' | 'destroy'): Promise<void> {
    const slot = this.#context.slots.lentSlot(resource)
    if (slot === undefined) {
      if (this.#lending.lateReleases.take(resource)) return DONE
      return Promise.reject(refusals.notBorrowed(this.stats(), how, resource))
    }
    const sent = this.endLoan(slot, how)
    this.#context.events.flush()
    return sent ?? DONE
  }

  /**
   * Ends the current loan of a slot; its connection stays with whoever shares it.
   * @returns see {@link Lending.giveBack}
   */
  endLoan(slot: Slot<T>, how: 'release' | 'destroy'): Promise<void> | undefined {
    if (how === 'destroy') this.#lending.destroy(slot)
    else if (this.#strict === undefined || endsAlone(slot.scope)) return this.#lending.giveBack(slot)
    return undefined
  }

  async #use<R>(work: Work<T, R>, given: Given): Promise<R> {
    const traced = acquireChannel.hasSubscribers ? this.#trace('use') : undefined
    let slot = given === undefined ? this.#lendIdle() : undefined
    let loan: number
    if (slot === undefined) ({ slot, loan } = (await this.#enter(given, 'use', traced)) as Grant<T>)
    else {
      loan = slot.loan
      this.#begin(slot, 'use', false, traced)
      // From a microtask of its own the scope reaches nobody but the work, and there is nothing to restore: from Node
      // 24 on, `run` makes two maps for that, and takes 100 ns longer than this turn of the queue.
      if (this.#nesting !== undefined) await DONE
    }
    // Somebody who had it before may have given it back once more meanwhile.
    if (!isCurrent(slot, loan)) throw refusals.leaseEnded(this.stats(), 'use was to begin')
    this.#nesting?.enter(slot.scope)
    let result: R
    try {
      result = await (useChannel.hasSubscribers ? this.#tracedWork(work, slot) : work(slot.lent as T))
    } catch (error) {
      if (isCurrent(slot, loan)) {
        slot.isDoubtful = true
        this.endLoan(slot, 'release')
      }
      throw error
    }
    // Unless the function has ended the loan itself.
    if (isCurrent(slot, loan)) {
      const sent = this.endLoan(slot, 'release')
      if (sent !== undefined) await sent
    }
    return result
  }

  async #useShared<R>(share: Scope, work: Work<T, R>): Promise<R> {
    const slot = share.slot as Slot<T>
    const { loan } = slot
    let sent: Promise<void> | undefined
    try {
      return await (useChannel.hasSubscribers ? this.#tracedWork(work, slot) : work(slot.lent as T))
    } catch (error) {
      // Whoever shares it may go on; the next borrower may not.
      if (isCurrent(slot, loan)) slot.isDoubtful = true
      throw error
    } finally {
      if (unshare(share) && isCurrent(slot, loan)) sent = this.#lending.giveBack(slot)
      if (sent !== undefined) await sent
    }
  }

  async #tracedWork<R>(work: Work<T, R>, slot: Slot<T>): Promise<R> {
    const { id: connection, loan } = slot
    const message: UseMessage = { ...this.#context.identity(), connection, loan }
    let failure: { error: unknown } | undefined
    try {
      return await runOperation(useChannel, message, async () => await work(slot.lent as T))
    } catch (error) {
      failure = { error }
      throw error
    } finally {
      endOperation(useChannel, message, failure)
    }
  }

  #trace(call: Call): TracedAcquire {
    const known = { waitedMillis: undefined, connection: undefined, loan: undefined }
    return new TracedAcquire({ ...this.#context.identity(), call, ...known })
  }

  /** The fast path: nobody waits, and an idle connection is fit to be lent. */
  #lendIdle(): Slot<T> | undefined {
    if (this.#context.queue.waiting > 0 || this.#lifecycle.state !== 'open') return undefined
    const now = this.#context.loanNow()
    const slot = this.#lending.findFit(now, 0, Number.NEGATIVE_INFINITY)
    if (slot !== undefined) this.#lending.lend(slot, now, 0)
    // Before the work starts that `use` runs in this very call.
    this.#context.events.flush()
    return slot
  }

  /** A loan has begun, at once: notes who took it, as far as that is sampled. */
  #begin(slot: Slot<T>, call: Call, detached: boolean, traced: TracedAcquire | undefined): void {
    const { lentAt } = slot
    if (traced !== undefined) traced.served(slot.id, slot.loan, 0)
    if (this.#sampler.left > 0 || lentAt >= this.#sampler.refillAt)
      slot.trace = this.#sampler.capture(this.#entries[call], lentAt)
    if (this.#nesting !== undefined) this.#nesting.begin(slot, call === 'use', detached, this.#entries[call])
  }

  /** The other path: options to read, somebody before us, or nothing idle. */
  #enter(given: Given, call: Call, traced: TracedAcquire | undefined): Promise<T | Grant<T>> {
    const { options, clock, queue, nesting, stats, times } = this.#context
    if (this.#lifecycle.state !== 'open') return refuse(refusals.closed(stats()), traced)
    let request: Request
    try {
      request = readRequest(given, options, this.#defaultRequest, stats)
    } catch (error) {
      return refuse(error, traced)
    }
    const { signal } = request
    if (signal?.aborted) return refuse(refusals.aborted(stats(), 0, signal.reason), traced)
    this.#lifecycle.start()
    const slot = given === undefined ? undefined : this.#lendIdle()
    if (slot !== undefined) {
      this.#begin(slot, call, request.detached, traced)
      const served = Promise.resolve(call === 'acquire' ? (slot.lent as T) : new Grant(slot))
      return slot.trace === undefined || call === 'use' ? served : noteOwnersOf(served, slot)
    }
    const refusal = this.#refusal(request)
    if (refusal !== undefined) return refuse(refusal, traced)
    // A hook that ran on the way may have aborted it.
    if (signal?.aborted) return refuse(refusals.aborted(stats(), 0, signal.reason), traced)
    const now = clock.now()
    let resolve: (value: unknown) => void = () => {}
    const promise = new Promise<unknown>(settle => {
      resolve = settle
    }) as Promise<T | Grant<T>>
    const waiter = new Waiter<T>(request, now, call, resolve)
    if (this.#sampler.affords(now)) waiter.trace = this.#sampler.capture(this.#entries[call], now)
    else this.#sampler.waiting()
    const { breaker } = this.#connector
    waiter.traced = traced?.waits()
    if (breaker.isOpen) waiter.breakerOpening = breaker.openings
    const served = nesting === undefined ? promise : nesting.queued(waiter, promise, this.#entries[call])
    queue.enqueue(waiter)
    times.queued(queue.waiting)
    this.#lending.serve(now)
    return served
  }

  /** What an acquire that will not wait would have to wait for. */
  #blockingPhase(): AcquirePhase {
    const { queue, slots } = this.#context
    if (slots.counts.idle > 0 && queue.waiting === 0) return 'validate'
    const phase = phaseOf(this.#context, this.#connector.breaker)
    return phase === 'queue' && this.#connector.capacity.freePermits > 0 ? 'connect' : phase
  }

  /** Why an acquire is not even let into the queue. */
  #refusal(request: Request): PoolError | undefined {
    const connector = this.#connector
    const { options, queue, slots, totals, events, stats } = this.#context
    if (connector.isDown) return refusals.cannotConnect(stats(), connector.breaker)
    if (request.timeout === 0 && !this.#lending.awaitsEventLoop)
      return refusals.noneAtHand(stats(), this.#blockingPhase(), connector.breaker.lastError)
    if (queue.serviceRate !== undefined) {
      const estimate = queue.serviceRate.estimate(queue.ahead(request.priority))
      if (estimate !== undefined && estimate > request.timeout && connector.capacity.expected <= 0) {
        totals.shed += 1
        events.announce('shed', { pool: options.name, waitedMillis: 0, estimatedMillis: estimate })
        return refusals.hopeless(stats(), estimate, request.timeout)
      }
    }
    const most = options.maxWaitingClients
    if (most === Number.POSITIVE_INFINITY) return undefined
    const served = connector.capacity.expected > -most || slots.counts.idle > 0
    return served ? undefined : refusals.queueFull(stats(), most)
  }
}

/** Tells the caller, and whoever traces the acquire, that there is no connection to be had. */
function refuse(error: unknown, traced: TracedAcquire | undefined): Promise<never> {
  if (traced !== undefined) traced.failed(error, 0)
  return Promise.reject(error)
}

/** What a loan gives to its borrower: made once per connection, or once per loan where each has a handle of its own. */
const promiseOf = <T>(slot: Slot<T>): Promise<T> => slot.served ?? Promise.resolve(slot.lent as T)

/** For a plain loan whose stack was taken: it is noted who gets it. */
function noteOwnersOf<T, R>(served: Promise<R>, slot: Slot<T>): Promise<R> {
  return slot.scope === undefined ? served : noteOwners(served, slot.scope)
}
