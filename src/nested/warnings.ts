import { log } from '../runtime/log/log.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'
import { TokenBucket } from '../runtime/token-bucket.ts'
import type { Held, NestingHost, PoolNode } from './host.ts'
import { SIZING } from './messages.ts'
import { begun, PlainLeases } from './plain-leases.ts'
import { leasesOfUse } from './process-wide.ts'

/**
 * A burst of `MOST_LOOKS` stacks is read, then `LOOKS_A_SECOND`. Each costs about 10 µs, more where something is found.
 */
const MOST_LOOKS = 20
const LOOKS_A_SECOND = 50
/** The most call sites for which is remembered that they were warned about. */
const MOST_SITES = 1000

/** Warns about the nested acquires of one pool, once for each pair of call sites. */
export class NestedWarnings<T> {
  readonly #host: NestingHost<T>
  readonly #pool: PoolNode
  readonly #warned = new Set<string>()
  readonly #looks: TokenBucket

  constructor(host: NestingHost<T>, pool: PoolNode) {
    this.#host = host
    this.#pool = pool
    this.#looks = new TokenBucket(MOST_LOOKS, LOOKS_A_SECOND / 1000, MOST_LOOKS, host.clock.now())
  }

  /** Checks an acquire whose stack was taken: does its caller already hold a connection? */
  look(asked: StackTrace, now: number): void {
    if (!this.#looks.take(now)) return
    const leases = [...leasesOfUse(asked), ...plainLeasesOf(this.#pool, asked)]
    if (leases.length > 0) this.#warn(leases, asked)
  }

  #warn(leases: readonly Held[], asked: StackTrace): void {
    const { sampler, events, totals, options } = this.#host
    totals.nested += 1
    const traces = leases.map(({ lease }) => lease.trace)
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

/** The plain leases of a pool that the caller of this acquire seems to hold. */
function plainLeasesOf(pool: PoolNode, asked: StackTrace): Held[] {
  const plain = new PlainLeases()
  for (const held of pool.leases()) if (held.isPlain) plain.add(held)
  const matches = plain.isEmpty ? [] : plain.matches(begun(asked))
  // If several leases were taken at that statement, any of them could be this caller's, so none is reported.
  return matches.flatMap(({ group, isExact }) => (isExact && group.leases.length === 1 ? group.leases : []))
}
