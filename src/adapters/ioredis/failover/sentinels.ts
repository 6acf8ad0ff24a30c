import { messageOf } from '../../../api/errors.ts'
import { log } from '../../../runtime/log/log.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import { destroyClient, streamOf } from '../client/client.ts'
import type { RedisClient } from '../client/client-types.ts'
import { type Address, inWords, isSameAddress } from './addresses.ts'

/** What has to be known of the clients of a pool to ask the sentinels for them. */
export interface SentinelTarget {
  /** The name of the master, as the sentinels know it. */
  readonly name: string
  /** Whether its connections lead to the master, and not to replicas. */
  readonly toPrimary: boolean
  readonly endpoints: readonly unknown[]
  /** Whether the sentinels may name others of their kind. */
  readonly learns: boolean
  /** Makes an unconnected client to a sentinel. */
  dial(endpoint: unknown): RedisClient
  /** The address of a server as this process sees it (`natMap`). */
  translate(address: Address): Address
}

/** Which primary a sentinel names. */
export interface Answer {
  readonly address: Address
  /** Counts the failovers, as far as this sentinel knows: who has the higher number knows better. */
  readonly epoch: number | undefined
}

/** What all sentinels that could be asked say. */
export interface Poll {
  readonly answers: readonly Answer[]
  /** How many sentinels there are. */
  readonly asked: number
}

export type SentinelClient = RedisClient & {
  sentinel(...args: string[]): Promise<unknown>
  subscribe(channel: string): Promise<unknown>
}

/** So long a sentinel has for its answer, connecting included. Milliseconds. */
const ASK_MILLIS = 1000
/** So long the slower ones are waited for once one has answered. Milliseconds. */
const GRACE_MILLIS = 150
/** The same, once most of them agree: one may still know of a later failover than they. */
const AGREED_MILLIS = 10
/** So much later than one sentinel the next is asked as well, if the first has not answered yet. Milliseconds. */
const STAGGER_MILLIS = 100

/** Asks the sentinels of a pool, by a short connection to each. Those that are silent or gone cost no time to speak of. */
export class Sentinels {
  readonly target: SentinelTarget
  /** Endpoints that other sentinels have named. */
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

  /** Why the last of them could not be asked. */
  get lastError(): unknown {
    return this.#lastError
  }

  /**
   * Asks all of them for the primary. Whoever asks at the same time shares the answers.
   *
   * @param thorough - the answers of most of them have led astray: wait a little for the others as well
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
   * Asks one after the other, and does not wait for the silent.
   *
   * @param from - which of them is the first
   * @param accept - what the question gives, unless it is undefined
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

  /** @returns undefined if it does not answer, or does not know */
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

  /** Nobody waits for what they say any more. */
  giveUp(): void {
    for (const client of this.#clients) destroyClient(client)
  }

  /** Asks for the primary; and on the way for the other sentinels. */
  async primaryOf(client: SentinelClient): Promise<Answer | undefined> {
    const { name, learns } = this.target
    // In one go. Who may ask for the address alone does so.
    const [address, master, others] = await Promise.all([
      client.sentinel('get-master-addr-by-name', name),
      client.sentinel('master', name).catch(() => undefined),
      learns ? client.sentinel('sentinels', name).catch(() => undefined) : undefined,
    ])
    const fields = fieldsOf(master)
    // The others may be known here by other names.
    if (Number(fields['num-other-sentinels']) >= this.endpoints.length) this.#learn(others)
    if (!Array.isArray(address)) {
      this.#lastError = new Error(`the sentinel does not know a master called '${name}'`)
      return undefined
    }
    const epoch = Number(fields['config-epoch'] ?? Number.NaN)
    return {
      address: { host: String(address[0]), port: Number(address[1]) },
      epoch: Number.isFinite(epoch) ? epoch : undefined,
    }
  }

  #learn(others: unknown): void {
    if (!Array.isArray(others)) return
    for (const other of others) {
      const { ip, port, flags = '' } = fieldsOf(other)
      if (ip === undefined || port === undefined || flags.includes('down') || flags.includes('disconnected'))
        continue
      const address = this.target.translate({ host: ip, port: Number(port) })
      const isKnown = (this.endpoints as readonly Address[]).some(known =>
        isSameAddress({ host: known.host ?? '127.0.0.1', port: Number(known.port ?? 26_379) }, address),
      )
      if (!isKnown) this.#learned.push(address)
    }
  }

  /** What others have named need not be reachable from here. */
  #unlearn(endpoint: unknown): void {
    this.#learned = this.#learned.filter(learned => learned !== endpoint)
  }
}

/** How many of them name the same server as this one. */
export const votesFor = (answer: Answer | undefined, answers: readonly Answer[]): number =>
  answer === undefined ? 0 : answers.filter(({ address }) => isSameAddress(address, answer.address)).length

/** Fields in a flat list, or in a map. */
export function fieldsOf(reply: unknown): Record<string, string | undefined> {
  if (!Array.isArray(reply)) return { ...(reply as Record<string, string> | undefined) }
  const fields: Record<string, string> = {}
  for (let at = 0; at + 1 < reply.length; at += 2) fields[String(reply[at])] = String(reply[at + 1])
  return fields
}
