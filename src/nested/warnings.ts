import { log } from '../runtime/log.ts'
import { StackTrace } from '../runtime/stack-trace.ts'
import { enclosing, firstKnown, leasesOf, needsStacks } from './holders.ts'
import type { Entry, NestingHost } from './host.ts'
import { SIZING } from './messages.ts'
import type { Scope } from './scope.ts'

/** Nested acquires whose stack is read at once; after that, one in so many. */
const MOST_LOOKS = 1000
const THEN_ONE_IN = 16
/** Of the acquires that wait inside one plain loan, so many have their stack taken whatever that costs. */
const LEAST_ASKED = 4
/** Call sites that are remembered as told. */
const MOST_SITES = 1000

/** Sees nested acquires of one pool, and tells of each pair of call sites once. */
export class NestedWarnings<T> {
  readonly #context: NestingHost<T>
  readonly #told = new Set<string>()
  #looks = 0

  constructor(context: NestingHost<T>) {
    this.#context = context
  }

  /**
   * Tells of a nested acquire, once for each pair of call sites.
   *
   * @param hint - the innermost scope that the context shows
   * @param asking - its stack is taken if need be
   * @param waits - whether it has to wait: if nobody of a loan's line is asked, a knot of it can never be proved
   * @returns the innermost scope that may be of this line. What the context only happens to carry is left out for
   *   good: chains stay short, and a lease that ends does not make way for one that is another's
   */
  see(
    hint: Scope,
    asking: { trace: StackTrace | undefined },
    waits: boolean,
    now: number,
    from: Entry,
  ): Scope | undefined {
    const { totals } = this.#context
    const known = firstKnown(hint)
    if (known === undefined) return undefined
    if (!needsStacks(known)) {
      totals.nested += 1
      this.#looks += 1
      if (this.#looks > MOST_LOOKS && this.#looks % THEN_ONE_IN !== 0) return known
      asking.trace ??= new StackTrace(from)
      this.#tell(known, asking.trace)
      return known
    }
    const { sampler } = this.#context
    if (asking.trace === undefined) {
      if (sampler.affords(now)) asking.trace = sampler.capture(from, now)
      else if (waits && known.asked < LEAST_ASKED) asking.trace = new StackTrace(from)
      if (waits) known.asked += 1
    }
    const outer = enclosing(known, asking.trace)
    if (outer !== undefined && asking.trace !== undefined && this.#tell(outer, asking.trace))
      totals.nested += 1
    return outer
  }

  /** @returns whether leases are held around this call */
  #tell(outer: Scope, trace: StackTrace): boolean {
    const { sampler, events } = this.#context
    const leases = leasesOf({ scope: outer, trace, chain: undefined }, 'call')
    if (leases.length === 0) return false
    const site = [trace, ...leases.map(lease => lease.trace)].map(each => each?.place ?? '').join(' ')
    if (this.#told.has(site) || this.#told.size >= MOST_SITES) return true
    this.#told.add(site)
    const heldStacks = sampler.shows ? leases.map(lease => lease.trace?.text ?? '') : []
    const waitStack = sampler.shows ? trace.text : ''
    const heldPools = [...new Set(leases.map(lease => lease.member?.name ?? ''))]
    if (log.pool.enabled) {
      log.pool(
        '%s: nested acquire, holding from %s; %s\n%s',
        this.#context.options.name,
        heldPools.join(', '),
        SIZING,
        waitStack,
      )
    }
    events.announce('nested', {
      pool: this.#context.options.name,
      heldPools,
      heldStacks,
      waitStack,
      rule: SIZING,
    })
    return true
  }
}
