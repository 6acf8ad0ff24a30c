import { messageOf } from '../../../api/errors.ts'
import { log } from '../../../runtime/log/log.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import { destroyClient, streamOf } from '../client/client.ts'
import type { RedisClient } from '../client/client-types.ts'
import { type Address, addressOf, inWords, isSameAddress } from './addresses.ts'

/** What is needed to ask the sentinels on behalf of a pool's clients. */
export interface SentinelTarget {
  /** The name of the master that the sentinels know. */
  readonly name: string
  /** Whether the pool's connections lead to the master, not to replicas. */
  readonly toPrimary: boolean
  readonly endpoints: readonly unknown[]
  /** Whether further sentinels may be learned from the known ones (`updateSentinels`). */
  readonly learns: boolean
  /** Creates an unconnected client to a sentinel. */
  dial(endpoint: unknown): RedisClient
  /** The address of a server as this process sees it (`natMap`). */
  translate(address: Address): Address
}

/** Which primary a sentinel names. */
export interface Answer {
  readonly address: Address
  /** The number of the last failover that this sentinel knows of: the higher number is right. */
  readonly epoch: number | undefined
}

/** The answers of all sentinels that could be asked. */
export interface Poll {
  readonly answers: readonly Answer[]
  /** How many sentinels there are. */
  readonly asked: number
}

export type SentinelClient = RedisClient & {
  sentinel(...args: string[]): Promise<unknown>
  subscribe(channel: string): Promise<unknown>
}

/** How long a sentinel may take to answer, connecting included. Milliseconds. */
const ASK_MILLIS = 1000
/** How long the slower sentinels are waited for once one has answered. Milliseconds. */
const GRACE_MILLIS = 150
/** The same, once a majority agrees: a slower one may still know of a later failover. Milliseconds. */
const AGREED_MILLIS = 10
/** If a sentinel has not answered after this time, the next one is asked as well. Milliseconds. */
const STAGGER_MILLIS = 100

/** Asks the sentinels of a pool through a short connection to each. Silent or missing ones cause hardly any delay. */
export class Sentinels {
  readonly target: SentinelTarget
  /** Endpoints that other sentinels have reported. */
  #learned: Address[] = []
  readonly #polls = new Map<boolean, Promise<Poll>>()
  #lastError: unknown
  readonly #clients = new Set<RedisClient>()

  constructor(target: SentinelTarget) {
    this.target = target
  }

  get endpoints(): readonly unknown[] {
    return [...this.target.endpoints, ...this.#learned]
  }

  /** Why the last sentinel that failed could not be asked. */
  get lastError(): unknown {
    return this.#lastError
  }

  /**
   * Asks all sentinels for the primary. Simultaneous callers share the answers.
   *
   * @param thorough - the majority's answer turned out wrong: wait a little for the other sentinels too
   */
  poll(thorough: boolean): Promise<Poll> {
    const underWay = this.#polls.get(thorough)
    if (underWay !== undefined) return underWay
    const poll = this.#askAll(thorough).finally(() => this.#polls.delete(thorough))
    this.#polls.set(thorough, poll)
    return poll
  }

  #askAll(thorough: boolean): Promise<Poll> {
    const { endpoints } = this
    const answers: Answer[] = []
    return new Promise(resolve => {
      let left = endpoints.length
      let hasAgreed = false
      let grace: { cancel(): void } | undefined
      const done = (): void => {
        grace?.cancel()
        resolve({ answers: [...answers], asked: endpoints.length })
      }
      const answered = (answer: Answer | undefined): void => {
        left -= 1
        if (answer !== undefined) answers.push(answer)
        if (left === 0) done()
        else if (!thorough && !hasAgreed && votesFor(answer, answers) * 2 > endpoints.length) {
          hasAgreed = true
          grace?.cancel()
          grace = systemClock.after(AGREED_MILLIS, done)
        } else if (answers.length > 0) grace ??= systemClock.after(GRACE_MILLIS, done)
      }
      for (const endpoint of endpoints) this.ask(endpoint, client => this.primaryOf(client)).then(answered)
    })
  }

  /**
   * Asks one sentinel after the other, without waiting for silent ones.
   *
   * @param from - the index of the sentinel to ask first
   * @param question - resolves with the result, or with undefined to try the next sentinel
   */
  first<R>(
    from: number,
    question: (client: SentinelClient) => Promise<R | undefined>,
  ): Promise<R | undefined> {
    const { endpoints } = this
    const order = endpoints.map((_, at) => endpoints[(at + from) % endpoints.length])
    return new Promise(resolve => {
      let open = order.length
      let isDone = false
      const next = (): void => {
        if (order.length === 0 || isDone) return
        const stagger = systemClock.after(STAGGER_MILLIS, next)
        this.ask(order.shift(), question).then(result => {
          stagger.cancel()
          open -= 1
          isDone ||= result !== undefined || open === 0
          if (isDone) resolve(result)
          else next()
        })
      }
      next()
    })
  }

  /** @returns undefined if the sentinel does not answer or does not know */
  async ask<R>(
    endpoint: unknown,
    question: (client: SentinelClient) => Promise<R | undefined>,
  ): Promise<R | undefined> {
    const client = this.target.dial(endpoint) as SentinelClient
    this.#clients.add(client)
    let said: unknown
    client.on('error', error => {
      said ??= error
    })
    client.once('connect', () => streamOf(client)?.unref())
    const timer = systemClock.after(ASK_MILLIS, () => destroyClient(client))
    try {
      await client.connect()
      return await question(client)
    } catch (error) {
      this.#lastError = said ?? error
      this.#unlearn(endpoint)
      if (log.pool.enabled)
        log.pool('sentinel %s: %s', inWords(endpoint as Address), messageOf(this.#lastError))
      return undefined
    } finally {
      timer.cancel()
      this.#clients.delete(client)
      destroyClient(client)
    }
  }

  /** Called when nobody waits for the answers any more. */
  giveUp(): void {
    for (const client of this.#clients) destroyClient(client)
  }

  /** Asks for the primary and, in the same round trip, for the other sentinels. */
  async primaryOf(client: SentinelClient): Promise<Answer | undefined> {
    const { name, learns } = this.target
    // All at once. A user who is only allowed the first question still gets the address.
    const [address, master, others] = await Promise.all([
      client.sentinel('get-master-addr-by-name', name),
      client.sentinel('master', name).catch(() => undefined),
      learns ? client.sentinel('sentinels', name).catch(() => undefined) : undefined,
    ])
    const fields = fieldsOf(master)
    // The other sentinels may already be known here under other names.
    if (Number(fields['num-other-sentinels']) >= this.endpoints.length) this.#learn(others)
    const primary = Array.isArray(address) ? addressOf(address[0], address[1]) : undefined
    if (primary === undefined) {
      this.#lastError = new Error(`the sentinel does not know a master called '${name}'`)
      return undefined
    }
    const epoch = Number(fields['config-epoch'] ?? Number.NaN)
    return {
      address: primary,
      epoch: Number.isFinite(epoch) ? epoch : undefined,
    }
  }

  #learn(others: unknown): void {
    if (!Array.isArray(others)) return
    for (const other of others) {
      const { ip, port, flags = '' } = fieldsOf(other)
      const named = addressOf(ip, port)
      if (named === undefined || flags.includes('down') || flags.includes('disconnected')) continue
      const address = this.target.translate(named)
      const isKnown = (this.endpoints as readonly Address[]).some(known =>
        isSameAddress({ host: known.host ?? '127.0.0.1', port: Number(known.port ?? 26_379) }, address),
      )
      if (!isKnown) this.#learned.push(address)
    }
  }

  /** A sentinel that others reported may not be reachable from here. */
  #unlearn(endpoint: unknown): void {
    this.#learned = this.#learned.filter(learned => learned !== endpoint)
  }
}

/** How many answers name the same server as this one. */
export const votesFor = (answer: Answer | undefined, answers: readonly Answer[]): number =>
  answer === undefined ? 0 : answers.filter(({ address }) => isSameAddress(address, answer.address)).length

/** Reads fields from a flat list or from a map. */
export function fieldsOf(reply: unknown): Record<string, string | undefined> {
  if (!Array.isArray(reply)) return { ...(reply as Record<string, string> | undefined) }
  const fields: Record<string, string> = {}
  for (let at = 0; at + 1 < reply.length; at += 2) fields[String(reply[at])] = String(reply[at + 1])
  return fields
}
