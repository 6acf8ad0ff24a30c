import type { Request } from '../api/acquire-request.ts'
import { readRequest } from '../api/acquire-request.ts'
import type { UseMessage } from '../api/channels.ts'
import { isPoolError, pointAtCaller } from '../api/errors.ts'
import * as refusals from '../api/messages/error-messages.ts'
import type { AcquireOptions } from '../api/options/options.ts'
import { show } from '../api/options/read-input.ts'
import { badOptions } from '../api/options/resolve-options.ts'
import type { Connector } from '../connecting/connector.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import { Grant, isCurrent, type Slot } from '../connections/slot.ts'
import { recordOwners } from '../nested/awaiters.ts'
import type { Entry, Work as UseWork } from '../nested/host.ts'
import type { Nesting } from '../nested/nesting.ts'
import { TracedAcquire } from '../queue/traced-acquire.ts'
import { type Call, Waiter } from '../queue/waiter.ts'
import { acquireChannel, endOperation, runOperation, useChannel } from '../runtime/channels.ts'
import type { StackSampler } from '../runtime/stack-sampler.ts'
import { Lease } from './lease.ts'
import type { Lending } from './lending.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { Rejections } from './rejections.ts'
import type { Releasing } from './release.ts'
import { UseFrames } from './use-frame.ts'

type Work<T, R> = (resource: T) => R | PromiseLike<R>
type Given = number | AcquireOptions | undefined

/** The methods that the user calls. Recorded stacks and errors start at their callers. */
export type EntryPoints = Readonly<Record<Call | 'release' | 'destroy' | 'ready' | 'drain' | 'close', Entry>>

const DONE: Promise<void> = Promise.resolve()

/**
 * How an acquire gets its connection and how its loan ends, in the same way for `acquire`, `use` and `lease`.
 *
 *     refused by nested: 'forbid' ─► shared by nested: 'reuse' ─► an idle connection, at once ─► the queue
 */
export class Acquiring<T> {
  readonly #context: PoolContext<T>
  readonly #lending: Lending<T>
  readonly #connector: Connector<T>
  readonly #lifecycle: Lifecycle<T>
  readonly #releasing: Releasing<T>
  readonly #rejections: Rejections<T>
  readonly #sampler: StackSampler
  readonly #entries: EntryPoints
  readonly #nesting: Nesting<T> | undefined
  /** The same object under `nested: 'forbid'` and `'reuse'`, otherwise undefined. */
  readonly #strict: Nesting<T> | undefined
  /** The request of an acquire without options. */
  readonly #defaultRequest: Request
  /** Whether the options let such an acquire wait, however many wait already. */
  readonly #mayAlwaysWait: boolean
  readonly #frames: UseFrames<Slot<T>>

  constructor(
    context: PoolContext<T>,
    connector: Connector<T>,
    lending: Lending<T>,
    lifecycle: Lifecycle<T>,
    releasing: Releasing<T>,
    rejections: Rejections<T>,
    entries: EntryPoints,
  ) {
    const { options, nesting } = context
    this.#context = context
    this.#lending = lending
    this.#connector = connector
    this.#lifecycle = lifecycle
    this.#releasing = releasing
    this.#rejections = rejections
    this.#sampler = context.sampler
    this.#entries = entries
    this.#nesting = nesting
    this.#strict = options.nested === 'detect' ? undefined : nesting
    this.#frames = new UseFrames<Slot<T>>(nesting?.detector, {
      begin: grant => this.#begin(grant as Grant<T>),
      call: (work, slot) =>
        useChannel.hasSubscribers ? this.#tracedWork(work, slot) : work(slot.lent as never),
      end: slot => releasing.endLoan(slot, 'release'),
    })
    const timeout = options.acquireTimeoutMillis
    this.#defaultRequest = { priority: 0, timeout, signal: undefined, detached: false }
    this.#mayAlwaysWait =
      timeout > 0 && !options.earlyRefusal && options.maxWaitingClients === Number.POSITIVE_INFINITY
  }

  get stats(): PoolContext<T>['stats'] {
    return this.#context.stats
  }

  acquire(given: Given): Promise<T> {
    const traced = acquireChannel.hasSubscribers ? this.#trace('acquire') : undefined
    const refusal = this.#strict?.refusal(given, this.#entries.acquire)
    if (refusal !== undefined) return refuse(refusal, traced)
    const slot = this.#lendAtOnce('acquire', given, traced)
    if (slot === undefined) return this.#waitOrLend(given, 'acquire', traced) as Promise<T>
    return slot.trace === undefined ? promiseOf(slot) : recordOwners(promiseOf(slot), slot.trace)
  }

  use<R>(work: Work<T, R>, given: Given): Promise<R> {
    if (typeof work !== 'function') {
      const { options, stats } = this.#context
      return Promise.reject(
        pointAtCaller(
          badOptions(
            [`use needs a function to run, got ${show(work)}`],
            options.name,
            stats(),
            'the arguments of use',
          ),
          this.#entries.use,
        ),
      )
    }
    const shared = this.#strict?.share(work as UseWork<R>, given)
    if (shared !== undefined) return shared
    const traced = acquireChannel.hasSubscribers ? this.#trace('use') : undefined
    const refusal = this.#strict?.refusal(given, this.#entries.use)
    if (refusal !== undefined) return refuse(refusal, traced)
    const slot = this.#lendAtOnce('use', given, traced)
    if (slot !== undefined) return this.#run(work, slot, given)
    const served = this.#waitOrLend(given, 'use', traced)
    const frame = this.#strict === undefined ? this.#frames.takeToWait() : undefined
    return frame?.run(work as UseWork<R>, undefined, served) ?? this.#useLater(work, given, served)
  }

  async lease(given: Given): Promise<Lease<T>> {
    const traced = acquireChannel.hasSubscribers ? this.#trace('lease') : undefined
    const refusal = this.#strict?.refusal(given, this.#entries.lease)
    if (refusal !== undefined) return refuse(refusal, traced)
    const slot = this.#lendAtOnce('lease', given, traced)
    if (slot === undefined) {
      const grant = (await this.#waitOrLend(given, 'lease', traced)) as Grant<T>
      return new Lease(grant.slot, grant.loan, this.#releasing)
    }
    const { loan } = slot
    if (slot.trace !== undefined) await recordOwners(DONE, slot.trace)
    return new Lease(slot, loan, this.#releasing)
  }

  async #useLater<R>(work: Work<T, R>, given: Given, served: Promise<T | Grant<T>>): Promise<R> {
    return await this.#run(work, this.#begin((await served) as Grant<T>), given)
  }

  #begin({ slot, loan }: Grant<T>): Slot<T> {
    // An earlier borrower may have released the connection a second time by now, which ended this loan.
    if (!isCurrent(slot, loan)) throw refusals.leaseEnded(this.stats(), 'use was to begin')
    return slot
  }

  #run<R>(work: Work<T, R>, slot: Slot<T>, given: Given): Promise<R> {
    const frame = this.#frames.take()
    if (this.#strict === undefined) return frame.run(work as UseWork<R>, slot)
    return this.#strict.run(frame, work as UseWork<R>, slot, given)
  }

  async #tracedWork<R>(work: UseWork<R>, slot: Slot<T>): Promise<R> {
    const { id: connection, loan } = slot
    const message: UseMessage = Object.assign({ connection, loan }, this.#context.identity())
    let failure: { error: unknown } | undefined
    try {
      return await runOperation(useChannel, message, async () => await work(slot.lent as never))
    } catch (error) {
      failure = { error }
      throw error
    } finally {
      endOperation(useChannel, message, failure)
    }
  }

  #trace(call: Call): TracedAcquire {
    const message = { call, waitedMillis: undefined, connection: undefined, loan: undefined }
    // Not by spreading, which takes V8 sixty times as long.
    return new TracedAcquire(Object.assign(message, this.#context.identity()))
  }

  /** The fast path: no acquire waits, and an idle connection may be lent. */
  #lendIdle(): Slot<T> | undefined {
    if (this.#context.queue.waiting > 0 || this.#lifecycle.state !== 'open') return undefined
    const now = this.#context.loanNow()
    const slot = this.#lending.findFit(now, 0, Number.NEGATIVE_INFINITY)
    if (slot !== undefined) this.#lending.lend(slot, now, 0)
    // Calls the listeners now, because `use` runs its function in this same call.
    this.#context.events.flush()
    return slot
  }

  /** Lends an idle connection in the same call, unless there are options to read first. */
  #lendAtOnce(call: Call, given: Given, traced: TracedAcquire | undefined): Slot<T> | undefined {
    const slot = given === undefined ? this.#lendIdle() : undefined
    if (slot !== undefined) this.#lent(slot, call, given, traced)
    return slot
  }

  /** Called when a connection was lent at once: records the stack of the loan, if it is sampled. */
  #lent(slot: Slot<T>, call: Call, given: Given, traced: TracedAcquire | undefined): void {
    const { lentAt } = slot
    if (this.#sampler.left > 0 || lentAt >= this.#sampler.refillAt) {
      slot.trace = this.#sampler.capture(this.#entries[call], lentAt, call !== 'use')
      this.#nesting?.warnIfNested(slot.trace, given, lentAt)
    }
    if (this.#strict !== undefined && call !== 'use') this.#strict.plainScope(given)?.start(slot)
    if (traced !== undefined) traced.servedAtOnce(slot.id, slot.loan)
  }

  /** The slow path: there are options to read, other acquires wait, or no idle connection may be lent. */
  #waitOrLend(given: Given, call: Call, traced: TracedAcquire | undefined): Promise<T | Grant<T>> {
    if (given === undefined && this.#mustWait) return this.#wait(this.#defaultRequest, given, call, traced)
    const { options, stats } = this.#context
    if (this.#lifecycle.state !== 'open') return this.#refuse(refusals.closed(stats()), call, traced)
    let request: Request
    try {
      request = readRequest(given, options, this.#defaultRequest, stats)
    } catch (error) {
      return this.#refuse(error, call, traced)
    }
    const { signal } = request
    if (signal?.aborted) return this.#refuse(refusals.aborted(stats(), 0, signal.reason), call, traced)
    this.#lifecycle.start()
    const slot = given === undefined ? undefined : this.#lendIdle()
    if (slot !== undefined) {
      this.#lent(slot, call, given, traced)
      const served = Promise.resolve(call === 'acquire' ? (slot.lent as T) : new Grant(slot))
      return slot.trace === undefined || call === 'use' ? served : recordOwners(served, slot.trace)
    }
    const refusal = this.#rejections.refusal(request, this.#lending.awaitsEventLoop)
    if (refusal !== undefined) return this.#refuse(refusal, call, traced)
    // A hook that ran in between may have aborted it.
    if (signal?.aborted) return this.#refuse(refusals.aborted(stats(), 0, signal.reason), call, traced)
    // The first wait of a pool begins before its first create does.
    this.#context.stalls.start()
    const promise = this.#wait(request, given, call, traced)
    this.#lending.serve(this.#context.clock.now())
    return promise
  }

  /**
   * Is it certain that a plain acquire can only wait? Others wait already, all connections are lent, and no other one
   * may be made. Then nothing has to be checked, started or served, which is most of the work of the slow path.
   */
  get #mustWait(): boolean {
    const { queue, slots } = this.#context
    return (
      queue.waiting > 0 &&
      this.#mayAlwaysWait &&
      slots.counts.idle === 0 &&
      this.#lifecycle.state === 'open' &&
      this.#connector.breaker.failures === 0 &&
      this.#connector.capacity.freePermits <= 0
    )
  }

  /** Adds an acquire to the queue. */
  #wait(
    request: Request,
    given: Given,
    call: Call,
    traced: TracedAcquire | undefined,
  ): Promise<T | Grant<T>> {
    const { clock, loanNow, queue, nesting, times } = this.#context
    const now = request === this.#defaultRequest ? loanNow() : clock.now()
    let resolve: (value: unknown) => void = () => {}
    const promise = new Promise<unknown>(settle => {
      resolve = settle
    }) as Promise<T | Grant<T>>
    const waiter = new Waiter<T>(request, now, call, resolve)
    const { breaker } = this.#connector
    // In an outage nobody waits for a lease, and those who wait are many: their stacks would delay its end.
    if (breaker.failures === 0 && this.#sampler.affords(now)) {
      waiter.trace = this.#sampler.capture(this.#entries[call], now, call !== 'use')
      nesting?.warnIfNested(waiter.trace, given, now)
    } else this.#sampler.waiting()
    if (traced !== undefined) waiter.traced = traced.waits()
    if (breaker.isOpen) waiter.breakerOpening = breaker.openings
    if (this.#strict !== undefined && call !== 'use') waiter.scope = this.#strict.plainScope(given)
    if (nesting !== undefined) nesting.detector.watch(now)
    queue.enqueue(waiter)
    times.queued(queue.waiting)
    return waiter.trace === undefined || call === 'use' ? promise : recordOwners(promise, waiter.trace)
  }

  /** Rejects the caller with an error whose stack begins at the caller's line. */
  #refuse(error: unknown, call: Call, traced: TracedAcquire | undefined): Promise<never> {
    if (isPoolError(error)) pointAtCaller(error, this.#entries[call])
    return refuse(error, traced)
  }
}

/** Rejects the caller, and notifies the subscribers of a traced acquire. */
function refuse(error: unknown, traced: TracedAcquire | undefined): Promise<never> {
  if (traced !== undefined) traced.failed(error, 0)
  return Promise.reject(error)
}

/** The promise that gives a loan to its borrower: created once per connection, or per loan where loans have handles. */
const promiseOf = <T>(slot: Slot<T>): Promise<T> => slot.served ?? Promise.resolve(slot.lent as T)
