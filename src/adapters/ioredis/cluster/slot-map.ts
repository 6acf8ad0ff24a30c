import { systemClock } from '../../../runtime/time/clock.ts'
import { type Address, inWords, isSameAddress } from '../failover/addresses.ts'
import { SLOTS } from './keys.ts'
import type { ClusterNode, Shard, View } from './view.ts'

/**
 * How long a slot that a MOVED or a takeover has corrected is kept against nodes that have not heard of it. The news spreads within a
 * second or two. Milliseconds.
 */
const KEPT_MILLIS = 2000

interface Counted {
  readonly shard: Shard
  readonly slots: number
}

/** Slots with the same owner. */
interface Run {
  readonly from: number
  /** The first slot behind it. */
  readonly to: number
  readonly shard: Shard | undefined
}

interface Correction {
  readonly shard: Shard
  readonly until: number
}

/**
 * Which node serves which slot, by what the nodes have said so far.
 *
 *     two nodes agree about a slot          believed
 *     one says so, and the others differ    the known owner stays
 *     nodes say that nobody has the slot    the known owner stays, unless it says so itself: a node that was reset knows nobody
 *     only one can be asked                 believed if it knows of no earlier state than before
 *     a node answers MOVED                  believed for that slot, at once: it does not serve it any more
 *     a replica has taken over              believed for the slots of its primary that it claims, at once: the primary cannot
 *                                           be reached
 */
export class SlotMap {
  readonly #shards = new Array<Shard | undefined>(SLOTS).fill(undefined)
  /** Where `#shards` may change. There are few such runs of slots; work for each slot would block the loop for 50 ms. */
  #cuts = [0]
  #counted: ReadonlyMap<string, Counted> | undefined
  readonly #corrections = new Map<number, Correction>()
  /** Shards whose replica says that it has taken over, and until when that counts. */
  readonly #takeovers = new Map<Shard, number>()
  /** Every node that the latest views named, by its address. */
  #nodes = new Map<string, ClusterNode>()
  /** The highest `cluster_current_epoch` seen. */
  epoch = -1
  /** How often the owner of a slot has changed. */
  changes = 0

  get isKnown(): boolean {
    return this.epoch >= 0
  }

  shardOf(slot: number): Shard | undefined {
    return this.#shards[slot]
  }

  /** The shards by the address of their primary, and how many slots each has. */
  get shards(): ReadonlyMap<string, Counted> {
    if (this.#counted === undefined) {
      const runs = this.#runs([])
      this.#cuts = runs
        .filter(({ shard }, at) => at === 0 || shard !== runs[at - 1]?.shard)
        .map(({ from }) => from)
      this.#counted = countOf(runs)
    }
    return this.#counted
  }

  /** A node that serves slots is a primary, also where others still call it a replica of one that it has replaced. */
  roleOf(address: Address): 'primary' | 'replica' | undefined {
    const key = inWords(address)
    if (this.shards.has(key)) return 'primary'
    for (const { shard } of this.shards.values())
      if (shard.replicas.some(replica => inWords(replica.address) === key)) return 'replica'
    return undefined
  }

  /** Every node that is known, by its address. */
  get nodes(): ReadonlyMap<string, ClusterNode> {
    return this.#nodes
  }

  /** A node has answered MOVED: the slot belongs to another one. */
  moved(slot: number, to: Address): void {
    const key = inWords(to)
    const before = this.#shards[slot]
    if (before !== undefined && isSameAddress(before.primary.address, to)) return
    const known = this.shards.get(key)?.shard
    const primary = this.#nodes.get(key) ?? { id: key, address: to }
    const shard = known ?? { primary, replicas: [] }
    this.#nodes.set(key, primary)
    this.#corrections.set(slot, { shard, until: systemClock.now() + KEPT_MILLIS })
    this.#set(slot, slot + 1, shard)
  }

  /**
   * A replica of a primary that cannot be reached says that it has taken over.
   *
   * @param view - what it says of the cluster
   * @returns whether it claims any slot of its primary
   */
  tookOver(primary: Address, view: View): boolean {
    const taken = new Map<Shard, Shard>()
    for (const { from, to, shard: known } of this.#runs(view.cuts)) {
      const own = view.shards[from]
      if (known === undefined || !isSameAddress(known.primary.address, primary)) continue
      if (own === undefined || own.primary.id !== view.id) continue
      const shard = taken.get(own) ?? { ...own }
      taken.set(own, shard)
      this.#set(from, to, shard)
    }
    for (const shard of taken.values()) this.#takeovers.set(shard, systemClock.now() + KEPT_MILLIS)
    return taken.size > 0
  }

  /**
   * Learns from what the nodes say.
   *
   * @param views - by different nodes
   * @param isAll - nobody else could be asked
   * @returns whether they were believed: a single one is only if nobody else can be asked
   */
  learn(views: readonly View[], isAll: boolean): boolean {
    const epochs = views.map(view => view.epoch).sort((a, b) => b - a)
    // One that only a single node of several knows of may be made up, and no later answer would reach it.
    const epoch = epochs[1] ?? epochs[0] ?? -1
    if (views.length < 2 && !(views.length === 1 && isAll && epoch >= this.epoch)) return false
    const now = systemClock.now()
    const corrected = [...this.#corrections.keys()].flatMap(slot => [slot, slot + 1])
    for (const { from, to, shard: known } of this.#runs([
      ...views.flatMap(({ cuts }) => cuts),
      ...corrected,
    ])) {
      const found = this.#findShard(from, views, now)
      if (found !== known) this.#set(from, to, found)
    }
    for (const [shard, until] of this.#takeovers) if (now >= until) this.#takeovers.delete(shard)
    this.epoch = Math.max(this.epoch, epoch)
    this.#nodes = new Map()
    const shards = [...this.shards.values()].flatMap(({ shard: { primary, replicas } }) => [
      primary,
      ...replicas,
    ])
    for (const node of [...views.flatMap(({ nodes }) => [...nodes.values()]), ...shards])
      this.#nodes.set(inWords(node.address), node)
    return true
  }

  /** Who serves a slot, by these views and by what was known before. */
  #findShard(slot: number, views: readonly View[], now: number): Shard | undefined {
    const known = this.#shards[slot]
    const correction = this.#corrections.get(slot)
    if (correction !== undefined) {
      const { id, address } = correction.shard.primary
      const own = views.find(view => view.id === id || view.by === inWords(address))
      const isDenied = own !== undefined && !isSamePrimary(own.shards[slot], correction.shard)
      if (isDenied || now >= correction.until) this.#corrections.delete(slot)
      // It stays when it is confirmed: the next ones to be asked may not have heard of it yet.
      else return own === undefined ? known : own.shards[slot]
    }
    if (known !== undefined && now < (this.#takeovers.get(known) ?? 0)) {
      const own = views.find(({ id }) => id === known.primary.id)
      if (own === undefined || isSamePrimary(own.shards[slot], known)) return known
    }
    let best: View | undefined
    let most = 0
    for (const view of views) {
      if (view.shards[slot] === undefined) continue
      let votes = 0
      for (const other of views) if (isSamePrimary(view.shards[slot], other.shards[slot])) votes += 1
      if (votes > most || (votes === most && view.epoch > (best?.epoch ?? -1))) {
        best = view
        most = votes
      }
    }
    if (best === undefined && known !== undefined) {
      const own = views.find(
        view => view.id === known.primary.id || view.by === inWords(known.primary.address),
      )
      return own === undefined ? known : undefined
    }
    const isBelieved = most >= 2 || views.length === 1 || known === undefined
    return isBelieved ? best?.shards[slot] : known
  }

  /** The slots in runs of one owner, cut at these slots as well. */
  #runs(cuts: readonly number[]): Run[] {
    const all = [...new Set([...this.#cuts, ...cuts])].filter(slot => slot < SLOTS).sort((a, b) => a - b)
    return all.map((from, at) => ({ from, to: all[at + 1] ?? SLOTS, shard: this.#shards[from] }))
  }

  /** @param to - the first slot that keeps its owner */
  #set(from: number, to: number, shard: Shard | undefined): void {
    if (!isSamePrimary(this.#shards[from], shard)) this.changes += to - from
    this.#shards.fill(shard, from, to)
    this.#cuts.push(from, to)
    this.#counted = undefined
  }
}

function countOf(runs: readonly Run[]): ReadonlyMap<string, Counted> {
  const counted = new Map<string, Counted>()
  for (const { from, to, shard } of runs) {
    if (shard === undefined) continue
    const key = inWords(shard.primary.address)
    const known = counted.get(key)
    // The same shard may have come with several answers; one that was only named by a MOVED has no replicas.
    const best =
      known === undefined || shard.replicas.length > known.shard.replicas.length ? shard : known.shard
    counted.set(key, { shard: best, slots: to - from + (known?.slots ?? 0) })
  }
  return counted
}

function isSamePrimary(a: Shard | undefined, b: Shard | undefined): boolean {
  if (a === b) return true
  if (a === undefined || b === undefined) return false
  return a.primary.id === b.primary.id || isSameAddress(a.primary.address, b.primary.address)
}
