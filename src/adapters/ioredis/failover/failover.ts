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

/** What failover needs from the pool. */
interface FailoverHost {
  readonly name: string
  purge(reason: string): void
}

/** What is known about a connected client. */
interface ClientState {
  readonly isLent: boolean
  fault: string | undefined
}

/**
 * The shortest time between two purges because of an error reply. If a server's role cannot be found out, each new
 * connection to a demoted server would otherwise make the pool purge again. Milliseconds.
 */
const PURGE_PAUSE_MILLIS = 1000

/** How long a dial waits for the sentinels to replace an unreachable primary. Milliseconds. */
const SWITCH_MILLIS = 1000
/** How often the sentinels are asked again while a dial waits or makes no progress. Milliseconds. */
const ASK_AGAIN_MILLIS = 250
/** A dial starts again at most this often, whatever the sentinels say. */
const MOST_ATTEMPTS = 10

/** Makes the clients of a pool connect to the right server, also after a failover. */
export class Failover {
  readonly clients = new Map<RedisClient, ClientState>()
  /**
   * Increases with each failover. Connections dialled under an earlier number lead to a server that turned out wrong.
   */
  epoch = 0
  readonly #host: FailoverHost
  readonly #dials = new Set<Dial>()
  /** How many connections are wanted, counting dials in progress and those that wait for the sentinels. */
  #wanted = 0
  #purgedAt = Number.NEGATIVE_INFINITY
  #sentinels: Sentinels | undefined
  #watch: SentinelWatch | undefined
  readonly #known = new KnownPrimary()
  /** The server of each client, under the address that the sentinels gave it. */
  readonly #named = new WeakMap<RedisClient, Address>()
  /** How often the sentinels have named another primary, and the callbacks that wait for the next time. */
  #switches = 0
  readonly #awaiting = new Set<() => void>()
  /** How often a connect to a replica has failed. Each time, another sentinel is asked first. */
  #failures = 0

  constructor(host: FailoverHost) {
    this.#host = host
  }

  /** Makes a new client ask the sentinels through the pool, which knows more than a single sentinel. */
  direct(client: RedisClient, target: SentinelTarget | undefined, dial: Dial): void {
    if (target === undefined) return
    this.#sentinels ??= new Sentinels(target)
    // A client in another state has already asked the sentinels itself, and would do so again.
    dial.isDirected = client.status === 'wait'
    direct(client, {
      primary: async () => {
        if (dial.instead === undefined) await this.#ask(false)
        return dial.instead ?? this.#known.address
      },
      latest: () => dial.instead ?? this.#known.address,
      sentinels: this.#sentinels,
      first: this.#failures,
      connecting: address => {
        this.#named.set(client, address)
        dial.tried.push(address)
      },
    })
  }

  /**
   * Runs a dial. With sentinels, a dial to the wrong server is cancelled when they name another one, and starts again
   * at once. If a dial fails, all sentinels are asked again, and for a while it waits for a switch.
   */
  async dial<R>(signal: AbortSignal, run: (dial: Dial) => Promise<R>): Promise<R> {
    this.#wanted += 1
    try {
      return await this.#attempts(signal, run)
    } finally {
      this.#wanted -= 1
      // Nobody waits for the sentinels' answers any more. If the signal is not aborted, the watch may still use them.
      if (this.#wanted === 0 && signal.aborted) this.#sentinels?.giveUp()
    }
  }

  async #attempts<R>(signal: AbortSignal, run: (dial: Dial) => Promise<R>): Promise<R> {
    const tried: Address[] = []
    let instead: Address | undefined
    for (let attempt = 1; ; attempt += 1) {
      const switches = this.#switches
      const dial = new Dial(signal, tried, instead)
      try {
        const client = await this.#dial(dial, run)
        if (instead !== undefined && this.#switches === switches) this.#switched(this.#known.replace(instead))
        return client
      } catch (error) {
        if (signal.aborted || attempt === MOST_ATTEMPTS) throw error
        instead = undefined
        if (this.#switches !== switches) continue
        if (!dial.wasSlow && !isAboutServer(error)) throw error
        instead = await this.#another(dial)
        if (instead === undefined && this.#switches === switches && !this.#tryReplica(attempt)) throw error
      }
    }
  }

  async #dial<R>(dial: Dial, run: (dial: Dial) => Promise<R>): Promise<R> {
    this.#dials.add(dial)
    let timer: Timer | undefined
    // The server that the sentinels named may be silent, or behind a partition.
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

  /**
   * Called when a dial has failed.
   * @returns another server to try; undefined if there is none, or if the sentinels have switched meanwhile
   */
  async #another(dial: Dial): Promise<Address | undefined> {
    if (this.#sentinels?.target.toPrimary !== true) return undefined
    const switches = this.#switches
    const until = systemClock.now() + SWITCH_MILLIS
    for (;;) {
      const other = await dial.unlessOver(this.#ask(true, dial.tried))
      if (other !== undefined || this.#switches > switches || dial.isOver) return other
      if (this.#known.address === undefined || systemClock.now() >= until) return undefined
      await this.#switchWithin(ASK_AGAIN_MILLIS, dial)
      this.#stopIfUnneeded()
      if (this.#switches > switches) return undefined
    }
  }

  /** Decides whether to look for a replica again, which asks the next sentinel first. */
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
      // The watch ended with the last connection.
      this.#watch?.start()
    })
  }

  /**
   * Asks all sentinels for the primary.
   *
   * @param tried - servers that could not be reached
   * @returns another server to try; undefined while there are connections to the known primary, because then only a
   * switch replaces it
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

  /** Called when a client is connected. The pool listens to the sentinels as long as it has clients. */
  opened(client: RedisClient, state: ClientState): void {
    this.clients.set(client, state)
    client.once('end', () => this.closed(client))
    if (this.#sentinels === undefined) return
    const { address } = this.#known
    if (address !== undefined && this.#leadsTo(client, address)) this.#known.reached(address)
    this.#watch ??= new SentinelWatch(this.#sentinels, this.#known, to => this.#switched(to))
    this.#watch.start()
  }

  closed(client: RedisClient): void {
    if (this.clients.delete(client)) this.#stopIfUnneeded()
  }

  /** Stops listening to the sentinels once there is no client and nobody waits for a switch. */
  #stopIfUnneeded(): void {
    if (this.clients.size > 0 || this.#awaiting.size > 0) return
    this.#watch?.stop()
    if (this.#wanted === 0) this.#sentinels?.giveUp()
  }

  /** Compares by the address that the sentinels gave the server, or by its IP address. */
  #leadsTo(client: RedisClient, to: Address): boolean {
    const named = this.#named.get(client)
    if (named !== undefined) return isSameAddress(named, to)
    const remote = remoteOf(client)
    return isSameAddress(remote, to) || isSameAddress(remote, this.#sentinels?.target.translate(to) ?? to)
  }

  /**
   * Called when an error reply shows that a connection of this epoch leads to the wrong server. If a primary is wanted,
   * the first such reply purges the pool. Those of other connections to the same server say nothing new. A replica is
   * one of several, so only the connections to that replica are affected.
   */
  condemned(client: RedisClient, wanted: WantedRole, epoch: number, error: Error): void {
    const reason = `the server replied: ${messageOf(error)}`
    if (wanted === 'primary') {
      const now = systemClock.now()
      if (epoch !== this.epoch || now - this.#purgedAt < PURGE_PAUSE_MILLIS) return
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
   * Cuts lent connections as well, without waiting for them. The old primary may hang and hold its borrowers for ever,
   * or it may live on behind a partition and accept writes that will be lost. Connections to replicas may finish their
   * work.
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
      `pool '${pool}': the connection was cut, as ${reason}. A command in progress may have run on the old ` +
        'primary and may be lost; check whether it can be repeated, and take a new connection',
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
