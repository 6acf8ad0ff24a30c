import { log } from '../../../runtime/log/log.ts'
import { systemClock, type Timer } from '../../../runtime/time/clock.ts'
import { isOfCredentials } from '../client/credentials.ts'
import { type Address, inWords } from '../failover/addresses.ts'
import { NodeLink } from './node-link.ts'
import { type LinkHost, NotAsked } from './questions.ts'
import { Refresher } from './refresher.ts'
import { Refusals, refusalAdvice } from './refusals.ts'
import { SlotMap } from './slot-map.ts'
import { TakeoverWatch } from './takeover-watch.ts'
import type { View } from './view.ts'

/** How often the nodes in use are looked after. Milliseconds. */
const TICK_MILLIS = 250
/** Every how many ticks a node is asked whether it is alive. */
const TICKS_PER_PING = 2
/** A node that takes longer, connecting included, is silent: its slots may be given to another one. Milliseconds. */
const SILENT_MILLIS = 500
/** How often the topology is asked for although nothing has happened. Milliseconds. */
const REFRESH_MILLIS = 5000

export interface TopologyHost extends Omit<LinkHost, 'isStranger' | 'refusalOf'> {
  readonly name: string
  readonly seeds: readonly Address[]
  /** Has any connection of the node's pool received anything since it was last asked? */
  hasHeard(address: Address): boolean
  /** The nodes that have connections of the pool, or acquires that wait for one. */
  nodesInUse(): readonly Address[]
  /** @param isBelieved - nodes have agreed on it; otherwise one slot has been corrected */
  onChange(isBelieved: boolean): void
  /** Called with each look at the nodes. */
  onTick(): void
}

/**
 * Knows which node serves which slot, and keeps that up to date while the pool is in use:
 *
 *     MOVED                              that slot at once, and all are asked
 *     a create fails, a node is silent   nodes are asked until their answer has changed, or the node is back; its replicas
 *                                        are asked more often whether one of them has taken over
 *     nothing                            nodes are asked every 5 s
 */
export class Topology {
  readonly map = new SlotMap()
  readonly refresher: Refresher
  readonly #host: TopologyHost
  readonly #linkHost: LinkHost
  readonly #links = new Map<string, NodeLink>()
  /** Nodes that did not answer in time when they were last asked whether they are alive. */
  readonly #silent = new Set<string>()
  readonly #asked = new Set<string>()
  readonly #takeovers: TakeoverWatch
  readonly #refusals = new Refusals()
  /** The replica that has taken over last. It knows best. */
  #promoted: Address | undefined
  #timer: Timer | undefined
  #ticks = 0
  #refreshedAt = 0
  #isClosed = false

  constructor(host: TopologyHost) {
    this.#host = host
    const { translate, open, placeAt } = host
    const isStranger = (address: Address): boolean =>
      this.map.isKnown && this.map.roleOf(address) === undefined
    this.#linkHost = {
      ...{ translate, placeAt, isStranger },
      open: (address, signal, time) => this.#refusals.watch(address, open(address, signal, time)),
      refusalOf: address => this.#refusals.of(address),
    }
    this.refresher = new Refresher({
      name: host.name,
      isKnown: () => this.map.isKnown,
      isClosed: () => this.#isClosed,
      candidates: () => this.#candidates(),
      ask: address => this.linkTo(address).view(),
      learn: (views, isAll) => this.#learn(views, isAll),
    })
    this.#takeovers = new TakeoverWatch({
      replicasOf: primary =>
        this.#isClosed
          ? undefined
          : this.map.shards.get(inWords(primary))?.shard.replicas.map(({ address }) => address),
      isPrimary: node => this.linkTo(node).isPrimary(),
      onTakeover: (node, lost) => this.#tookOver(node, lost),
    })
  }

  /** A connection to this node could not be made. One that refuses for good is alive: nobody takes over from it. */
  lost(address: Address, error: unknown): void {
    if (this.#isClosed) return
    if (refusalAdvice(error) === undefined) this.#takeovers.lost(address)
    void this.refresh()
  }

  /** A connection to this node has been made. */
  found(address: Address): void {
    this.#takeovers.found(address)
    this.#refusals.accepted(address)
  }

  isSilent(address: Address): boolean {
    return this.#silent.has(inWords(address))
  }

  /** The pool's own connection to a node. */
  linkTo(address: Address): NodeLink {
    const key = inWords(address)
    const known = this.#links.get(key)
    if (known !== undefined) return known
    const link = new NodeLink(address, this.#linkHost)
    if (this.#isClosed) link.close()
    else this.#links.set(key, link)
    return link
  }

  /** Never rejects. Resolves when the nodes have answered. */
  refresh(): Promise<void> {
    return this.#isClosed ? Promise.resolve() : this.refresher.refresh()
  }

  /** The same, with answers to what they were asked after this call. */
  anew(): Promise<void> {
    return this.#isClosed ? Promise.resolve() : this.refresher.anew()
  }

  /** Have nodes agreed on it a moment ago? It is kept like this while nodes are in use. */
  get isFresh(): boolean {
    return this.map.isKnown && systemClock.now() - this.#refreshedAt < REFRESH_MILLIS
  }

  /** A node has answered MOVED. */
  moved(slot: number, to: Address): void {
    const { changes } = this.map
    this.map.moved(slot, to)
    if (this.map.changes === changes) return
    this.#host.onChange(false)
    void this.refresh()
  }

  /** Looks after the nodes from now on, as long as any is in use. Does not keep the process alive. */
  watch(): void {
    if (this.#isClosed) return
    this.#timer ??= systemClock.after(TICK_MILLIS, () => this.#tick())
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#closeLinks()
  }

  #closeLinks(): void {
    for (const link of this.#links.values()) link.close()
    this.#links.clear()
    this.#silent.clear()
  }

  #tick(): void {
    this.#timer = undefined
    const inUse = this.#host.nodesInUse()
    const lost = this.#takeovers.lostOnes
    if (inUse.length === 0 && lost.length === 0) {
      this.#closeLinks()
      return
    }
    const used = new Set([...inUse, ...lost].map(inWords))
    // A node that is gone for good is nobody's concern any more.
    for (const key of this.#silent) if (!used.has(key)) this.#silent.delete(key)
    this.#ticks += 1
    if (this.#ticks % TICKS_PER_PING === 0) for (const address of inUse) void this.#ping(address)
    if (this.#silent.size > 0 || !this.isFresh) void this.refresh()
    this.#host.onTick()
    this.watch()
  }

  async #ping(address: Address): Promise<void> {
    const key = inWords(address)
    if (this.#asked.has(key)) return
    // All connections are lent: one that was answered just now proves as much as an answer to a question.
    if (!this.linkTo(address).canAsk && this.#host.hasHeard(address)) {
      this.#isBack(address)
      return
    }
    this.#asked.add(key)
    const silent = (): void => {
      this.#silent.add(key)
      this.#takeovers.lost(address)
    }
    let timer: Timer | undefined
    try {
      // The wait for a connection or for credentials is no silence of the node.
      await this.linkTo(address).ping(isAsked => {
        timer?.cancel()
        if (isAsked) timer = systemClock.after(SILENT_MILLIS, silent)
      })
      this.#isBack(address)
    } catch (error) {
      if (!this.#links.has(key) || error instanceof NotAsked || isOfCredentials(error)) return
      if (refusalAdvice(error) === undefined) silent()
      else this.#isBack(address)
    } finally {
      timer?.cancel()
      this.#asked.delete(key)
    }
  }

  #isBack(address: Address): void {
    this.#silent.delete(inWords(address))
    this.#takeovers.found(address)
  }

  async #tookOver(node: Address, lost: Address): Promise<void> {
    const view = await this.linkTo(node).view()
    if (this.#isClosed || !this.#takeovers.isLost(lost)) return
    if (this.map.tookOver(lost, view)) {
      if (log.pool.enabled)
        log.pool('%s: %s has taken over from %s', this.#host.name, inWords(node), inWords(lost))
      this.#host.onChange(false)
    }
    // The others hear of it a moment later.
    this.#promoted = node
    this.refresher.hurry()
  }

  /**
   * Those that can be asked at once first. Of these the primaries, as they learn of a change
   * first. In random order: not all processes ask the same.
   */
  #candidates(): readonly Address[] {
    const rank = (address: Address): number =>
      (this.isSilent(address) || this.#takeovers.isLost(address) ? 2 : 0) + Math.random()
    const shards = [...this.map.shards.values()].map(({ shard }) => shard)
    const primaries = shards.map(({ primary }) => primary.address)
    const replicas = shards.flatMap(shard => shard.replicas.map(({ address }) => address))
    const sorted = (canAsk: boolean, addresses: readonly Address[]): Address[] =>
      addresses
        .filter(address => this.linkTo(address).canAsk === canAsk)
        .map(address => ({ address, by: rank(address) }))
        .sort((a, b) => a.by - b.by)
        .map(({ address }) => address)
    return [
      ...(this.#promoted === undefined ? [] : [this.#promoted]),
      ...sorted(true, primaries),
      ...sorted(true, replicas),
      ...sorted(false, primaries),
      ...sorted(false, replicas),
      ...this.#host.seeds,
    ]
  }

  #learn(views: readonly View[], isAll: boolean): boolean {
    const { changes } = this.map
    if (this.#isClosed || !this.map.learn(views, isAll)) return false
    this.#refreshedAt = systemClock.now()
    if (log.pool.enabled && this.map.changes !== changes) {
      const shards = [...this.map.shards].map(([address, { slots }]) => `${address}: ${slots}`)
      log.pool('%s: topology at epoch %d: %s', this.#host.name, this.map.epoch, shards.join(', '))
    }
    if (this.map.changes !== changes) this.#promoted = undefined
    this.#host.onChange(true)
    for (const [key, link] of this.#links) if (link.tidy()) this.#links.delete(key)
    return this.map.changes !== changes
  }
}
