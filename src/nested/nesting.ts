import { isDetached } from '../api/acquire-request.ts'
import type { PoolError } from '../api/errors.ts'
import type { AcquireOptions } from '../api/options/options.ts'
import { log } from '../runtime/log/log.ts'
import { StackTrace } from '../runtime/stack-trace.ts'
import type { StallListener } from '../runtime/time/alarm.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'
import { ContextTracker, type Scope } from './context.ts'
import { DeadlockDetector } from './deadlock-detector.ts'
import type { Connection, Entry, Lease, NestingHost, UseFrame, Work } from './host.ts'
import { nestedAcquire, SIZING } from './messages.ts'
import { framesBegunBefore, PlainLeases, recordRelease } from './plain-leases.ts'
import { leasesOfUse } from './process-wide.ts'

type Given = number | AcquireOptions | undefined

/** A burst of `BURST` stacks is read, then `A_SECOND`. Each costs 10 to 15 µs, more where something is found. */
const BURST = 20
const A_SECOND = 50
/**
 * The stack of an acquire is compared with the plain leases of the pool. To go through this many connections, and to
 * compare with this many leases, costs as much as to read a stack, and counts as one more.
 */
const CONNECTIONS_A_READ = 100
const LEASES_A_READ = 10
/** With more leases than this nothing is compared: it would block the event loop for more than 10 ms. */
const MOST_LEASES = 1000
/** The most pairs of call sites for which a pool remembers that it has warned. */
const MOST_SITES = 1000

/**
 * The nested acquires of one pool: the warning about them, how they are handled, and the deadlocks that they cause.
 */
export class Nesting<T> {
  readonly detector: DeadlockDetector<T>
  readonly #host: NestingHost<T>
  /** Only where a nested acquire is refused or shares a connection, not under `nested: 'detect'`. */
  readonly #tracker: ContextTracker | undefined
  readonly #warned = new Set<string>()
  readonly #acquiresRead: TokenBucket
  readonly #releasesRead: TokenBucket

  constructor(host: NestingHost<T>, onStall: StallListener) {
    this.#host = host
    this.detector = new DeadlockDetector(host, onStall)
    this.#tracker = host.options.nested === 'detect' ? undefined : new ContextTracker(this.detector)
    const now = host.clock.now()
    this.#acquiresRead = new TokenBucket(BURST, A_SECOND / 1000, BURST, now)
    this.#releasesRead = new TokenBucket(BURST, A_SECOND / 1000, BURST, now)
  }

  /** Warns if the caller of an acquire already holds a connection, once for each pair of call sites. */
  warnIfNested(asked: StackTrace, given: Given, now: number): void {
    if (isDetached(given) || !this.#acquiresRead.take(now)) return
    const leases = [...leasesOfUse(asked), ...this.#plainLeasesOf(asked, now)]
    if (leases.length > 0) this.#warn(leases, asked)
  }

  /**
   * Called while a loan is being ended, on the stack of the code that ends it. Records where plain loans come back, for
   * a sample of them: see `noteRelease`.
   * @param trace - the stack with which the loan was taken, if known
   */
  loanEnded(trace: StackTrace | undefined, now: number): void {
    this.detector.lastSign = now
    if (trace?.owners === undefined || !this.#releasesRead.take(now)) return
    recordRelease(trace, new StackTrace(this.loanEnded))
  }

  /** Under `'forbid'`: the error with which this acquire must be refused, if its caller holds a connection. */
  refusal(given: Given, from: Entry): PoolError | undefined {
    if (this.#host.options.nested !== 'forbid' || isDetached(given)) return undefined
    const asked = new StackTrace(from)
    const leases = this.#leasesOf(asked)
    if (leases.length === 0) return undefined
    this.#host.totals.nested += 1
    return nestedAcquire(this.#host.stats(), leases, this.#host.sampler.shows ? asked : undefined)
  }

  /** Under `'reuse'`: runs the function of a nested `use` on its caller's connection, if that is possible. */
  share<R>(work: Work<R>, given: Given): Promise<R> | undefined {
    if (this.#host.options.nested !== 'reuse' || isDetached(given)) return undefined
    const shared = this.#tracker?.share(work)
    if (shared !== undefined) this.#host.totals.nested += 1
    return shared
  }

  /** Under `'forbid'`: the scope for a plain acquire. Its lease starts when the connection is handed over. */
  plainScope(given: Given): Scope | undefined {
    return this.#host.options.nested === 'forbid' ? this.#tracker?.plain(isDetached(given)) : undefined
  }

  run<R>(frame: UseFrame, work: Work<R>, connection: Connection, given: Given): Promise<R> {
    if (this.#tracker === undefined) return frame.run(work, connection)
    return this.#tracker.run(frame, work, connection, isDetached(given))
  }

  /**
   * What the caller holds, by its async context and by its stack. The stack is needed for the leases of pools that do
   * not track contexts.
   */
  #leasesOf(asked: StackTrace): Lease[] {
    const found = (this.#tracker?.leases ?? []).filter(lease => {
      if (!lease.isPlain) return true
      const plain = new PlainLeases()
      plain.add(lease)
      return plain.matches(framesBegunBefore(asked)).length > 0
    })
    const known = new Set(found.map(({ connection }) => connection))
    return [...found, ...leasesOfUse(asked).filter(({ connection }) => !known.has(connection))]
  }

  /** The plain leases of this pool that the caller of this acquire seems to hold. */
  #plainLeasesOf(asked: StackTrace, now: number): Lease[] {
    if (this.detector.lent > MOST_LEASES) return []
    const leases = this.detector.leases().filter(({ isPlain }) => isPlain)
    const reads = this.#host.slots.all.size / CONNECTIONS_A_READ + leases.length / LEASES_A_READ
    this.#acquiresRead.spend(Math.floor(reads), now)
    const plain = new PlainLeases()
    for (const lease of leases) plain.add(lease)
    const matches = plain.isEmpty ? [] : plain.matches(framesBegunBefore(asked))
    // If several leases were taken at that statement, any of them could be this caller's, so none is reported.
    return matches.flatMap(({ group, isExact }) => (isExact && group.leases.length === 1 ? group.leases : []))
  }

  #warn(leases: readonly Lease[], asked: StackTrace): void {
    const { sampler, events, totals, options } = this.#host
    totals.nested += 1
    const traces = leases.map(({ connection }) => connection.trace)
    const site = [asked, ...traces].map(trace => trace?.place ?? '').join(' ')
    if (this.#warned.has(site) || this.#warned.size >= MOST_SITES) return
    this.#warned.add(site)
    const heldStacks = sampler.shows ? traces.map(trace => trace?.text ?? '') : []
    const waitStack = sampler.shows ? asked.text : ''
    const heldPools = [...new Set(leases.map(({ pool }) => pool.name))]
    if (log.pool.enabled) {
      const from = heldPools.join(', ')
      log.pool('%s: nested acquire, holding from %s; %s\n%s', options.name, from, SIZING, waitStack)
    }
    events.announce('nested', { pool: options.name, heldPools, heldStacks, waitStack, rule: SIZING })
  }
}
