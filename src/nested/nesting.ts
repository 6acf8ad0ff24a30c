import { isDetached } from '../api/acquire-request.ts'
import type { PoolError } from '../api/errors.ts'
import type { AcquireOptions } from '../api/options.ts'
import { StackTrace } from '../runtime/stack-trace.ts'
import type { StallListener } from '../runtime/time/alarm.ts'
import { ContextTracker, type Scope } from './context.ts'
import { DeadlockDetector } from './deadlock-detector.ts'
import type { Entry, Held, NestingHost, UseFrame, Work } from './host.ts'
import { nestedAcquire } from './messages.ts'
import { begun, PlainLeases } from './plain-leases.ts'
import { leasesOfUse } from './process-wide.ts'
import { ReleaseHistory } from './release-history.ts'
import { NestedWarnings } from './warnings.ts'

type Given = number | AcquireOptions | undefined

/** Nested acquires of one pool: who is told of them, what becomes of them, and the deadlocks that they end in. */
export class Nesting<T> {
  readonly detector: DeadlockDetector<T>
  readonly #warnings: NestedWarnings<T>
  readonly #releases: ReleaseHistory
  readonly #host: NestingHost<T>
  /** Only where a nested acquire is not simply served. */
  readonly #tracker: ContextTracker | undefined

  constructor(host: NestingHost<T>, onStall: StallListener) {
    const { nested } = host.options
    this.#host = host
    this.detector = new DeadlockDetector(host, onStall)
    this.#warnings = new NestedWarnings(host, this.detector)
    this.#releases = new ReleaseHistory(host.clock.now())
    this.#tracker = nested === 'detect' ? undefined : new ContextTracker(this.detector)
  }

  /** An acquire whose stack was taken is made. */
  look(asked: StackTrace, given: Given, now: number): void {
    if (!isDetached(given)) this.#warnings.look(asked, now)
  }

  /** A loan ends. @param trace - the stack with which it was taken, if that is known */
  ended(trace: StackTrace | undefined, now: number): void {
    this.detector.lastSign = now
    if (trace?.owners !== undefined) this.#releases.note(trace, now)
  }

  /** `'forbid'`: why this acquire must not be made. */
  refusal(given: Given, from: Entry): PoolError | undefined {
    if (this.#host.options.nested !== 'forbid' || isDetached(given)) return undefined
    const asked = new StackTrace(from)
    const leases = this.#heldBy(asked)
    if (leases.length === 0) return undefined
    this.#host.totals.nested += 1
    return nestedAcquire(this.#host.stats(), leases, this.#host.sampler.shows ? asked : undefined)
  }

  /** `'reuse'`: runs the function of a nested `use` on the connection that its caller has already, if it may. */
  share<R>(work: Work<R>, given: Given): Promise<R> | undefined {
    if (this.#host.options.nested !== 'reuse' || isDetached(given)) return undefined
    const shared = this.#tracker?.share(work)
    if (shared !== undefined) this.#host.totals.nested += 1
    return shared
  }

  /** A plain acquire is made, under `'forbid'`: the scope of its lease, which begins when it is handed over. */
  plainScope(given: Given): Scope | undefined {
    return this.#host.options.nested === 'forbid' ? this.#tracker?.plain(isDetached(given)) : undefined
  }

  run<R>(frame: UseFrame, work: Work<R>, given: Given): Promise<R> {
    if (this.#tracker === undefined) return frame.run(work)
    return this.#tracker.run(frame, work, isDetached(given))
  }

  /** By its context, and by its stack: another pool may track no contexts. */
  #heldBy(asked: StackTrace): Held[] {
    const found = (this.#tracker?.held ?? []).filter(held => {
      if (!held.isPlain) return true
      const plain = new PlainLeases()
      plain.add(held)
      return plain.matches(begun(asked)).length > 0
    })
    const known = new Set(found.map(({ lease }) => lease))
    return [...found, ...leasesOfUse(asked).filter(({ lease }) => !known.has(lease))]
  }
}
