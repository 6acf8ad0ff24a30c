import { isIP } from 'node:net'
import { isRecord } from '../../../api/options/read-input.ts'
import { outsideContext } from '../../../runtime/async-context.ts'
import { log } from '../../../runtime/log/log.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import type { RedisClient } from '../client/client-types.ts'
import { isReplyError } from '../client/replies/error-replies.ts'
import { listenToPushes } from '../client/replies/reply-guard.ts'
import { type Address, inWords, remoteOf } from './addresses.ts'
import { isAboutServer } from './dial.ts'
import { entriesOf } from './push-entries.ts'

/** What handoffs need from the pool. */
export interface HandoffHost {
  readonly name: string
  isLent(client: RedisClient): boolean
  /** Ends the connection: at once if it is idle, when it is returned if it is lent. */
  retire(client: RedisClient, reason: string): void
  warnOnce(code: string, message: string): void
}

/**
 * Connections with maintenance in progress are not validated and do not count as stuck, because a slow answer says nothing
 * about them; but not for longer than this. Milliseconds.
 */
const RELAXED_MILLIS = 30_000
/** Connections that were being made while the server announced its move are replaced within this time. Milliseconds. */
const LATE_MILLIS = 500

/**
 * Moves a pool before its server does (`handoffs: true`). Redis Cloud and Redis Software tell each connection in advance,
 * by RESP3 push messages, that the server behind it moves: `MOVING <number> <seconds> <host:port>`. From then on new
 * connections lead to the new address. Idle connections end one by one within half of the time, lent ones when they are
 * returned. If the message names no address, the same name will lead to the new server after half of the time, so
 * connections are replaced then.
 *
 * The new address is used until the server announces another one, or until it cannot be reached. Then the configured one
 * is used again.
 */
export class Handoffs {
  /** Called when a node of a cluster says that it has given slots to another one. */
  onSlotsMoved: () => void = () => {}
  readonly #isOn: boolean
  readonly #host: HandoffHost
  #target: Address | undefined
  /** How often a new address was announced. */
  #moves = 0
  /** The same, when each client was made. */
  readonly #madeAt = new WeakMap<RedisClient, number>()
  /** Has the server no such messages? */
  #isRefused = false
  /** Connections on which the server announces its maintenance. */
  readonly #listening = new WeakSet<RedisClient>()
  /** Until when each connection's answers may be slow. */
  readonly #relaxed = new WeakMap<RedisClient, number>()

  constructor(isOn: boolean, host: HandoffHost) {
    this.#isOn = isOn
    this.#host = host
  }

  /** Makes a client that leads to the latest address. */
  async open<R extends RedisClient>(make: () => R, open: (make: () => R) => Promise<R>): Promise<R> {
    if (!this.#isOn) return open(make)
    let used: Address | undefined
    const aimed = (): R => {
      const client = make()
      used = this.#aim(client)
      this.#madeAt.set(client, this.#moves)
      return client
    }
    try {
      return await open(aimed)
    } catch (error) {
      if (used !== undefined && used === this.#target && isAboutServer(error)) this.#target = undefined
      throw error
    }
  }

  /** May the server send data on this connection without being asked? */
  isListening(client: RedisClient): boolean {
    return this.#listening.has(client)
  }

  /** May a command take long on this connection now, as the server has said? */
  isRelaxed(client: RedisClient): boolean {
    return this.#isOn && (this.#relaxed.get(client) ?? 0) > systemClock.now()
  }

  get #toTarget(): string {
    return `the server moves to ${this.#target === undefined ? 'another node' : inWords(this.#target)}`
  }

  /** @returns the address that the client will connect to, if it is not the one in its options */
  #aim(client: RedisClient): Address | undefined {
    const target = this.#target
    const options = client.options as Record<string, unknown>
    // A client that connects already has read its options.
    if (target === undefined || client.status !== 'wait' || options.sentinels || options.path)
      return undefined
    const { tls, host } = options
    // The certificate has to be for the configured name, wherever the server says that it is.
    if (isRecord(tls) && tls.servername === undefined && isIP(String(host)) === 0)
      options.tls = { ...tls, servername: host }
    Object.assign(options, target)
    return target
  }

  /** Asks the server to announce its maintenance on this connection. */
  async listen(client: RedisClient): Promise<void> {
    if (!this.#isOn || this.#isRefused) return
    if ((client.condition as { protocol?: unknown } | null)?.protocol !== 3) {
      this.#refused(
        'the connection does not speak RESP3: that takes ioredis 6 with protocol 3, its default, and Redis 6',
      )
      return
    }
    listenToPushes(client, (word, frame) => this.#heard(client, word, entriesOf(frame)))
    try {
      await client.call('CLIENT', 'MAINT_NOTIFICATIONS', 'ON', 'moving-endpoint-type', endpointType(client))
      this.#listening.add(client)
    } catch (error) {
      if (!isReplyError(error)) throw error
      this.#refused(
        `the server does not announce its maintenance (${error.message}): Redis Cloud and Redis Software do`,
      )
    }
    // A move was announced while this connection was being made.
    if (this.#moves !== this.#madeAt.get(client))
      this.#retireIn(Math.random() * LATE_MILLIS, client, this.#toTarget)
  }

  #refused(why: string): void {
    this.#isRefused = true
    this.#host.warnOnce('LIFEGUARD_POOL_HANDOFFS', `handoffs has no effect, as ${why}`)
  }

  #heard(client: RedisClient, word: string, [, , third, fourth]: readonly (string | null)[]): void {
    if (log.pool.enabled) log.pool('%s: the server says %s %s %s', this.#host.name, word, third, fourth)
    if (word === 'MIGRATING' || word === 'FAILING_OVER' || word === 'SMIGRATING')
      this.#relaxed.set(client, systemClock.now() + RELAXED_MILLIS)
    else if (word === 'MIGRATED' || word === 'FAILED_OVER') this.#relaxed.delete(client)
    else if (word === 'SMIGRATED') {
      this.#relaxed.delete(client)
      outsideContext(this.onSlotsMoved)
    } else if (word === 'MOVING') this.#moving(client, Number(third) * 1000, addressIn(fourth))
  }

  #moving(client: RedisClient, millis: number, to: Address | undefined): void {
    const within = Number.isFinite(millis) && millis > 0 ? millis : 0
    this.#relaxed.set(client, systemClock.now() + within)
    if (to !== undefined && (this.#target === undefined || inWords(to) !== inWords(this.#target))) {
      this.#target = to
      this.#moves += 1
    }
    const spread = Math.random()
    if (to === undefined) this.#retireIn(within * (0.5 + spread / 4), client, this.#toTarget)
    else this.#retireIn(this.#host.isLent(client) ? 0 : (within * spread) / 2, client, this.#toTarget)
  }

  #retireIn(millis: number, client: RedisClient, reason: string): void {
    outsideContext(() => {
      const timer = systemClock.after(millis, () => this.#host.retire(client, reason))
      client.once('end', () => timer.cancel())
    })
  }
}

/** Addresses of private networks. */
const PRIVATE = /^(?:10\.|127\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|::1$|f[cd]|fe80:)/i

/** In which form the server is to give addresses: as seen from here, and as a name where a certificate is checked. */
function endpointType(client: RedisClient): string {
  const where = PRIVATE.test(remoteOf(client).host) ? 'internal' : 'external'
  return `${where}-${(client.options as { tls?: unknown }).tls ? 'fqdn' : 'ip'}`
}

/** Reads `host:port`, or `[IPv6]:port`. */
function addressIn(text: string | null | undefined): Address | undefined {
  const [, ipv6, host = ipv6, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text ?? '') ?? []
  return host === undefined || Number(port) > 65_535 ? undefined : { host, port: Number(port) }
}
