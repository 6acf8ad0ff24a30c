import { log } from '../runtime/log/log.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'
import type { Held, NestingHost, PoolNode } from './host.ts'
import { SIZING } from './messages.ts'
import { begun, PlainLeases } from './plain-leases.ts'
import { leasesOfUse } from './process-wide.ts'

/** Stacks that are read in a row, and then in a second: some 10 µs each, and more where something is found. */
const MOST_LOOKS = 200
const LOOKS_A_SECOND = 50
/** Call sites that are remembered as told. */
const MOST_SITES = 1000

/** Tells of nested acquires of one pool, once for each pair of call sites. */
export class NestedWarnings<T> {
  readonly #host: NestingHost<T>
  readonly #pool: PoolNode
  readonly #told = new Set<string>()
  readonly #looks: TokenBucket

  constructor(host: NestingHost<T>, pool: PoolNode) {
    this.#host = host
    this.#pool = pool
    this.#looks = new TokenBucket(MOST_LOOKS, LOOKS_A_SECOND / 1000, MOST_LOOKS, host.clock.now())
  }

  /** An acquire whose stack was taken: is it made by somebody who holds a connection already? */
  look(asked: StackTrace, now: number): void {
    if (this.#looks.level(now) < 1) return
    this.#looks.spend(1, now)
    const leases = [...leasesOfUse(asked), ...plainLeasesOf(this.#pool, asked)]
    if (leases.length > 0) this.#tell(leases, asked)
  }

  #tell(leases: readonly Held[], asked: StackTrace): void {
    const { sampler, events, totals, options } = this.#host
    totals.nested += 1
    const traces = leases.map(({ lease }) => lease.trace)
    const site = [asked, ...traces].map(trace => trace?.place ?? '').join(' ')
    if (this.#told.has(site) || this.#told.size >= MOST_SITES) return
    this.#told.add(site)
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

/** The plain leases of a pool that whoever has made this call seems to hold. */
function plainLeasesOf(pool: PoolNode, asked: StackTrace): Held[] {
  const plain = new PlainLeases()
  for (const held of pool.leases()) if (held.isPlain) plain.add(held)
  const matches = plain.isEmpty ? [] : plain.matches(begun(asked))
  // Of several that were taken there any could be this caller's.
  return matches.flatMap(({ group, isExact }) => (isExact && group.leases.length === 1 ? group.leases : []))
}
