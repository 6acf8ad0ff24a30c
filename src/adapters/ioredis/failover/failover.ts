import { messageOf, PoolError } from '../../../api/errors.ts'
import { onAbort } from '../../../runtime/abort.ts'
import { log } from '../../../runtime/log/log.ts'
import { systemClock, type Timer } from '../../../runtime/time/clock.ts'
import { destroyClient, destroyWithError } from '../client/client.ts'
import type { RedisClient } from '../client/client-types.ts'
import type { WantedRole } from '../redis-pool-options.ts'
import { type Address, inWords, isSameAddress, remoteOf } from './addresses.ts'
import { Dial, isAboutServer } from './dial.ts'
import { direct } from './direct.ts'
import { KnownPrimary } from './known-primary.ts'
import { SentinelWatch } from './sentinel-watch.ts'
import { Sentinels, type SentinelTarget } from './sentinels.ts'

/** What failover needs of the pool. */
export interface FailoverHost {
  readonly name: string
  purge(reason: string): void
}

/** What is known of a client that is connected. */
export interface ClientState {
  readonly isLent: boolean
  fault: string | undefined
}

/**
 * Purges because of a reply come no faster than this, in milliseconds: where a server's role cannot be asked, each new
 * connection to a demoted one would have the pool purged again.
 */
const CALM_MILLIS = 1000

/** How long a dial waits for the sentinels to replace a primary that is not to be reached. Milliseconds. */
const SWITCH_MILLIS = 1000
/** They are asked again this often while a dial waits, or gets nowhere. Milliseconds. */
const ASK_AGAIN_MILLIS = 250
/** A dial begins again at most this often, whatever the sentinels say. */
const MOST_ATTEMPTS = 10

/** Sees to it that the clients of a pool lead to the right server, also when that becomes another. */
export class Failover {
  readonly clients = new Map<RedisClient, ClientState>()
  /** Connections dialled under an earlier number lead to a server that has been found to be the wrong one. */
  epoch = 0
  readonly #host: FailoverHost
  readonly #dials = new Set<Dial>()
  /** Connections that are being made, whether a dial is under way or the sentinels are being asked for the next. */
  #wanted = 0
  #purgedAt = Number.NEGATIVE_INFINITY
  #sentinels: Sentinels | undefined
  #watch: SentinelWatch | undefined
  readonly #known = new KnownPrimary()
  /** What the sentinels called the server of a client. */
  readonly #named = new WeakMap<RedisClient, Address>()
  /** How often the sentinels have named another primary, and who waits for them to. */
  #switches = 0
  readonly #awaiting = new Set<() => void>()
  /** How often replicas have been looked for in vain: each time another sentinel is asked first. */
  #failures = 0

  constructor(host: FailoverHost) {
    this.#host = host
  }

  /** Has a new client ask the sentinels by way of the pool, which knows more than any of them. */
  direct(client: RedisClient, target: SentinelTarget | undefined, dial: Dial): void {
    if (target === undefined) return
    this.#sentinels ??= new Sentinels(target)
    // Otherwise it has begun to ask by itself, and would do so again.
    dial.isDirected = client.status === 'wait'
    direct(client, {
      primary: async () => {
        if (dial.instead === undefined) await this.#ask(false)
        return dial.instead ?? this.#known.address
      },
      latest: () => dial.instead ?? this.#known.address,
      sentinels: this.#sentinels,
      first: this.#failures,
      note: address => {
        this.#named.set(client, address)
        dial.tried.push(address)
      },
    })
  }

  /**
   * Runs a dial. By way of sentinels, one that leads to the wrong server is called off when they name another; and one that
   * failed has them all asked again, and waits a while for a switch: then it begins again, at once.
   */
  async dial<R>(signal: AbortSignal, run: (dial: Dial) => Promise<R>): Promise<R> {
    this.#wanted += 1
    try {
      return await this.#attempts(signal, run)
    } finally {
      this.#wanted -= 1
      // Nobody waits for what the sentinels say any more. Otherwise it may be of use to those who listen.
      if (this.#wanted === 0 && signal.aborted) this.#sentinels?.giveUp()
    }
  }

  async #attempts<R>(signal: AbortSignal, run: (dial: Dial) => Promise<R>): Promise<R> {
    const tried: Address[] = []
    let instead: Address | undefined
    for (let attempt = 1; ; attempt += 1) {
      const heard = this.#switches
      const dial = new Dial(signal, tried, instead)
      try {
        const client = await this.#dial(dial, run)
        if (instead !== undefined && this.#switches === heard) this.#switched(this.#known.replace(instead))
        return client
      } catch (error) {
        if (signal.aborted || attempt === MOST_ATTEMPTS) throw error
        instead = undefined
        if (this.#switches !== heard) continue
        if (!dial.wasSlow && !isAboutServer(error)) throw error
        instead = await this.#another(dial)
        if (instead === undefined && this.#switches === heard && !this.#tryReplica(attempt)) throw error
      }
    }
  }

  async #dial<R>(dial: Dial, run: (dial: Dial) => Promise<R>): Promise<R> {
    this.#dials.add(dial)
    let timer: Timer | undefined
    // The server that they named may be silent, or behind a partition.
    const askAgain = (): void => {
      timer = systemClock.after(ASK_AGAIN_MILLIS, async () => {
        const other = await this.#ask(true, dial.tried)
        if (!this.#dials.has(dial)) return
        if (other === undefined || !dial.isDirected) askAgain()
        else dial.tooSlow(other)
      })
    }
    askAgain()
    try {
      return await run(dial)
    } finally {
      timer?.cancel()
      this.#dials.delete(dial)
      dial.end()
    }
  }

  /** A dial has failed. @returns another server to try; or undefined, perhaps after a switch */
  async #another(dial: Dial): Promise<Address | undefined> {
    if (this.#sentinels?.target.toPrimary !== true) return undefined
    const heard = this.#switches
    const until = systemClock.now() + SWITCH_MILLIS
    for (;;) {
      const other = await dial.unlessOver(this.#ask(true, dial.tried))
      if (other !== undefined || this.#switches > heard || dial.isOver) return other
      if (this.#known.address === undefined || systemClock.now() >= until) return undefined
      await this.#switchWithin(ASK_AGAIN_MILLIS, dial)
      this.#rest()
      if (this.#switches > heard) return undefined
    }
  }

  /** Whether to look for a replica again: the next sentinel is asked first. */
  #tryReplica(attempt: number): boolean {
    if (this.#sentinels?.target.toPrimary !== false) return false
    this.#failures += 1
    return attempt < Math.max(this.#sentinels.endpoints.length, 3)
  }

  #switchWithin(millis: number, dial: Dial): Promise<void> {
    return new Promise<void>(resolve => {
      const over = (): void => {
        timer.cancel()
        stop()
        this.#awaiting.delete(over)
        resolve()
      }
      const timer = systemClock.after(millis, over)
      const stop = onAbort(dial.outer, over)
      this.#awaiting.add(over)
      // It has ended with the last of the connections.
      this.#watch?.start()
    })
  }

  /**
   * Asks all sentinels for the primary.
   *
   * @param tried - servers that could not be reached
   * @returns another one to try: as long as there are connections to the known one, it is not given up for less than a
   * switch
   */
  async #ask(thorough: boolean, tried?: readonly Address[]): Promise<Address | undefined> {
    const sentinels = this.#sentinels
    if (sentinels?.target.toPrimary !== true) return undefined
    const poll = await sentinels.poll(thorough)
    const before = this.#switches
    this.#switched(this.#known.learn(poll))
    if (tried === undefined || this.#switches > before || this.clients.size > 0) return undefined
    return this.#known.alternative(poll.answers, tried)
  }

  /** A client is connected. The sentinels are listened to as long as there are any. */
  opened(client: RedisClient, state: ClientState): void {
    this.clients.set(client, state)
    client.once('end', () => this.closed(client))
    if (this.#sentinels === undefined) return
    this.#watch ??= new SentinelWatch(this.#sentinels, this.#known, to => this.#switched(to))
    this.#watch.start()
  }

  closed(client: RedisClient): void {
    if (this.clients.delete(client)) this.#rest()
  }

  /** The sentinels are listened to as long as there is something to hear for. */
  #rest(): void {
    if (this.clients.size > 0 || this.#awaiting.size > 0) return
    this.#watch?.stop()
    if (this.#wanted === 0) this.#sentinels?.giveUp()
  }

  /** By the name that the sentinels gave it, or by its address. */
  #leadsTo(client: RedisClient, to: Address): boolean {
    const named = this.#named.get(client)
    if (named !== undefined) return isSameAddress(named, to)
    const remote = remoteOf(client)
    return isSameAddress(remote, to) || isSameAddress(remote, this.#sentinels?.target.translate(to) ?? to)
  }

  /**
   * A connection of this epoch has been told that its server is not the right one. Where a primary is wanted, whoever is
   * first has the pool purged; the others that lost the same server say nothing new. Replicas are many: then it is only
   * about the connections to the same one.
   */
  condemned(client: RedisClient, wanted: WantedRole, epoch: number, error: Error): void {
    const reason = `the server replied: ${messageOf(error)}`
    if (wanted === 'primary') {
      const now = systemClock.now()
      if (epoch !== this.epoch || now - this.#purgedAt < CALM_MILLIS) return
      this.#purgedAt = now
      this.#newEpoch(reason)
      return
    }
    this.#failures += 1
    const server = remoteOf(client)
    for (const [other, state] of [...this.clients]) {
      if (other === client || !isSameAddress(remoteOf(other), server)) continue
      state.fault ??= reason
      if (!state.isLent) destroyClient(other)
    }
  }

  /**
   * The connections that are lent are cut, and not waited for: the old primary may hang, and hold its borrowers for
   * ever; or live on behind a partition, and take writes that will be lost. Those to replicas may be finished.
   */
  #switched(to: Address | undefined): void {
    if (to === undefined) return
    this.#switches += 1
    const reason = `the sentinels have made ${inWords(to)} the primary`
    if (this.#sentinels?.target.toPrimary === false) {
      this.#newEpoch(reason)
      return
    }
    const pool = this.#host.name
    const error = new PoolError(
      'POOL_FAILOVER',
      `pool '${pool}': the connection was cut, as ${reason}. A command that was under way may have run on the old ` +
        'one, and may be lost there; see whether it can be repeated, and take a new connection',
      { pool },
    )
    for (const dial of this.#dials) dial.callOff(error)
    for (const over of [...this.#awaiting]) over()
    this.#newEpoch(reason)
    for (const client of [...this.clients.keys()])
      if (!this.#leadsTo(client, to)) destroyWithError(client, error)
  }

  #newEpoch(reason: string): void {
    this.epoch += 1
    if (log.pool.enabled) log.pool('%s: failover: %s', this.#host.name, reason)
    this.#host.purge(reason)
  }
}
