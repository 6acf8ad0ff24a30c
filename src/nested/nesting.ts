import { isDetached } from '../api/acquire-request.ts'
import type { PoolError } from '../api/errors.ts'
import type { AcquireOptions } from '../api/options/options.ts'
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

/**
 * The nested acquires of one pool: who is warned about them, how they are handled, and the deadlocks that they cause.
 */
export class Nesting<T> {
  readonly detector: DeadlockDetector<T>
  readonly #warnings: NestedWarnings<T>
  readonly #releases: ReleaseHistory
  readonly #host: NestingHost<T>
  /** Only where a nested acquire is refused or shares a connection, not under `nested: 'detect'`. */
  readonly #tracker: ContextTracker | undefined

  constructor(host: NestingHost<T>, onStall: StallListener) {
    const { nested } = host.options
    this.#host = host
    this.detector = new DeadlockDetector(host, onStall)
    this.#warnings = new NestedWarnings(host, this.detector)
    this.#releases = new ReleaseHistory(host.clock.now())
    this.#tracker = nested === 'detect' ? undefined : new ContextTracker(this.detector)
  }

  /** Called for an acquire whose stack was taken. */
  look(asked: StackTrace, given: Given, now: number): void {
    if (!isDetached(given)) this.#warnings.look(asked, now)
  }

  /**
   * Called when a loan ends.
   * @param trace - the stack with which the loan was taken, if known
   */
  ended(trace: StackTrace | undefined, now: number): void {
    this.detector.lastSign = now
    if (trace?.owners !== undefined) this.#releases.note(trace, now)
  }

  /** Under `'forbid'`: the error with which this acquire must be refused, if its caller holds a connection. */
  refusal(given: Given, from: Entry): PoolError | undefined {
    if (this.#host.options.nested !== 'forbid' || isDetached(given)) return undefined
    const asked = new StackTrace(from)
    const leases = this.#heldBy(asked)
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

  /** Under `'forbid'`: the scope for a plain acquire. Its lease begins when the connection is handed over. */
  plainScope(given: Given): Scope | undefined {
    return this.#host.options.nested === 'forbid' ? this.#tracker?.plain(isDetached(given)) : undefined
  }

  run<R>(frame: UseFrame, work: Work<R>, given: Given): Promise<R> {
    if (this.#tracker === undefined) return frame.run(work)
    return this.#tracker.run(frame, work, isDetached(given))
  }

  /**
   * What the caller holds, by its async context and by its stack. The stack is needed for the leases of pools that do
   * not track contexts.
   */
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
