import { log } from '../log.ts'
import { leasesOf, needsStacks } from './holders.ts'
import type { NestedHouse } from './nested.ts'
import { SIZING } from './nested-words.ts'
import type { Scope } from './scope.ts'
import { Trace } from './stacks.ts'

type Entry = (...args: never[]) => unknown

/** Nested acquires whose stack is read at once; after that, one in so many. */
const MOST_LOOKS = 1000
const THEN_ONE_IN = 16
/** Call sites that are remembered as told. */
const MOST_SITES = 1000

/** Sees nested acquires of one pool, and tells of each pair of call sites once. */
export class Sightings<T> {
  readonly #house: NestedHouse<T>
  readonly #told = new Set<string>()
  #looks = 0

  constructor(house: NestedHouse<T>) {
    this.#house = house
  }

  /**
   * Tells of a nested acquire, once for each pair of call sites.
   * @returns the innermost scope that is really around it, as far as that could be seen: without what the context only
   *   happens to carry, chains stay short
   */
  see(outer: Scope, known: Trace | undefined, from: Entry): Scope | undefined {
    const { totals, sampling, events } = this.#house
    if (!outer.exact && !needsStacks(outer)) {
      // Where the lease was taken is not known: from now on it will be.
      sampling.nested()
      return outer
    }
    this.#looks += 1
    if (this.#looks > MOST_LOOKS && this.#looks % THEN_ONE_IN !== 0) {
      if (outer.exact) totals.nested += 1
      return outer
    }
    const trace = known ?? new Trace(from)
    const leases = leasesOf({ scope: outer, trace, chain: undefined }, 'call')
    const [inner] = leases
    if (inner === undefined) return undefined
    totals.nested += 1
    sampling.nested()
    const site = [trace, ...leases.map(lease => lease.trace)].map(each => each?.place ?? '').join(' ')
    if (this.#told.has(site) || this.#told.size >= MOST_SITES) return outer.lease === inner ? outer : inner
    this.#told.add(site)
    const heldStacks = sampling.shows ? leases.map(lease => lease.trace?.text ?? '') : []
    const waitStack = sampling.shows ? trace.text : ''
    const heldPools = [...new Set(leases.map(lease => lease.member?.name ?? ''))]
    if (log.pool.enabled) {
      log.pool(
        '%s: nested acquire, holding from %s; %s\n%s',
        this.#house.options.name,
        heldPools.join(', '),
        SIZING,
        waitStack,
      )
    }
    events.announce('nested', {
      pool: this.#house.options.name,
      heldPools,
      heldStacks,
      waitStack,
      rule: SIZING,
    })
    return outer.lease === inner ? outer : inner
  }
}
