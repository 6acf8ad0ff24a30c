/**
 * Decides which waiters are deadlocked. Pure: it compares pools, leases and waiters by identity and calls none of them.
 *
 * **Facts.** A *still* pool is full, has nothing in progress (no create, validation, reset or close) and has shown no
 * activity for its grace. Every other pool is live. For each still pool we know how many leases it has lent; where a
 * budget keeps it from connecting, the leases of the other pools of the budget count as its own, too. A *candidate* is a
 * waiter of which we know the pool that it waits for, and the leases that cannot end before it is served. All other
 * waiters are live, and so is every lease that no candidate blocks.
 *
 * **Definition.** Live is the smallest set for which
 *
 *     (a) a lease is live if every candidate that blocks it is live (if there are several, all must be served),
 *     (b) a still pool is live if at least one of its leases is,
 *     (c) a candidate is live if the pool that it waits for is.
 *
 * The deadlocked waiters are those that are not live.
 *
 * **Why (c).** Code that does not wait ends its lease at some time. The connection then serves one waiter after
 * another. Each of them no longer waits once it is served, so as far as we can know it ends its lease, too.
 *
 * **Sound.** Suppose that deadlocked waiters could be served without outside help, and take the first one that is. Its
 * pool is still, so a lease of that pool must have ended before. By (b) none of its leases is live, so by (a) each is
 * blocked by a waiter that is not live. That waiter would have had to be served earlier, so ours was not the first.
 *
 * **Complete.** If no waiter of a set can ever be served, none of them can be derived to be live. By induction over the
 * derivation: each rule only adds what moves if everything else goes well.
 *
 * Cost: O(waiters + blocked leases). Each waiter is handled once, and each lease once per waiter that blocks it.
 */
export interface Edge<W, L, P> {
  readonly waiter: W
  readonly pool: P
  readonly blocks: readonly L[]
}

export function deadlocked<W, L, P>(
  candidates: readonly Edge<W, L, P>[],
  /** How many leases each still pool has lent. */
  lent: ReadonlyMap<P, number>,
  /** The pools that a lease can serve when it ends: several, where pools share a budget. */
  poolsOf: (lease: L) => readonly P[],
  /** Leases whose holder shows activity. */
  lively: ReadonlySet<L>,
): Edge<W, L, P>[] {
  const blockers = new Map<L, number>()
  const queues = new Map<P, Edge<W, L, P>[]>()
  for (const each of candidates) {
    // A pool that can move will serve this waiter. So the waiter is live from the start, by (c), and blocks nothing, by
    // (a).
    if (!lent.has(each.pool)) continue
    const queue = queues.get(each.pool)
    if (queue === undefined) queues.set(each.pool, [each])
    else queue.push(each)
    for (const lease of each.blocks) blockers.set(lease, (blockers.get(lease) ?? 0) + 1)
  }
  const free = new Map(lent)
  for (const lease of blockers.keys()) {
    if (lively.has(lease)) continue
    for (const pool of poolsOf(lease)) {
      const left = free.get(pool)
      if (left !== undefined) free.set(pool, left - 1)
    }
  }
  const live: P[] = []
  for (const [pool, leases] of free) if (leases > 0) live.push(pool)
  const dead = new Map(queues)
  for (let pool = live.pop(); pool !== undefined; pool = live.pop()) {
    const queue = dead.get(pool)
    if (queue === undefined) continue
    dead.delete(pool)
    for (const { blocks } of queue) {
      for (const lease of blocks) {
        const left = (blockers.get(lease) as number) - 1
        blockers.set(lease, left)
        if (left === 0) live.push(...poolsOf(lease))
      }
    }
  }
  return [...dead.values()].flat()
}

/**
 * Finds the knots among deadlocked waiters: cycles of pools in which each pool waits for the next, and which depend on
 * nothing outside. Rejecting a waiter that only waits for such a cycle would harm its caller and free nobody.
 *
 * These are the strongly connected components without an outgoing edge, found with Tarjan's algorithm. An edge leads
 * from each pool of a blocked lease to the pool that its waiter waits for.
 */
export function knots<W, L, P>(
  dead: readonly Edge<W, L, P>[],
  poolsOf: (lease: L) => readonly P[],
): Edge<W, L, P>[][] {
  const waitsFor = new Map<P, Set<P>>()
  for (const { pool, blocks } of dead) {
    for (const lease of blocks) {
      for (const owner of poolsOf(lease)) {
        const targets = waitsFor.get(owner)
        if (targets === undefined) waitsFor.set(owner, new Set([pool]))
        else targets.add(pool)
      }
    }
  }
  // No edge leads out of a component, so a waiter that blocks a lease of its pools waits for one of them, too.
  return cycles(waitsFor).map(cycle =>
    dead.filter(({ blocks }) => blocks.some(lease => poolsOf(lease).some(pool => cycle.has(pool)))),
  )
}

/** The strongly connected components of a graph that have no outgoing edge. */
function cycles<P>(edges: ReadonlyMap<P, ReadonlySet<P>>): Set<P>[] {
  const index = new Map<P, number>()
  const low = new Map<P, number>()
  const open: P[] = []
  const closed = new Map<P, Set<P>>()
  const visit = (pool: P): void => {
    const mine = index.size
    index.set(pool, mine)
    let lowest = mine
    open.push(pool)
    for (const target of edges.get(pool) ?? []) {
      if (!index.has(target)) visit(target)
      if (!closed.has(target)) lowest = Math.min(lowest, low.get(target) ?? (index.get(target) as number))
    }
    low.set(pool, lowest)
    if (lowest < mine) return
    const component = new Set(open.splice(open.indexOf(pool)))
    for (const each of component) closed.set(each, component)
  }
  for (const pool of edges.keys()) if (!index.has(pool)) visit(pool)
  return [...new Set(closed.values())].filter(component => {
    const targets = [...component].flatMap(pool => [...(edges.get(pool) ?? [])])
    return targets.length > 0 && targets.every(target => component.has(target))
  })
}
