import { messageOf } from '../../../api/errors.ts'
import { log } from '../../../runtime/log/log.ts'
import { backoff } from '../../../runtime/time/backoff.ts'
import { systemClock, type Timer } from '../../../runtime/time/clock.ts'
import { destroyClient, streamOf } from '../client/client.ts'
import { type Address, inWords, isSameAddress } from './addresses.ts'
import type { KnownPrimary } from './known-primary.ts'
import type { Answer, SentinelClient, Sentinels } from './sentinels.ts'

const SWITCH = '+switch-master'
/** How often a sentinel is asked whether it still lives: one that hangs tells of no switch, and writes would be lost. */
const ASK_MILLIS = 500
/** So long it has to answer. After a stall of this process another one is listened to, which does no harm. */
const ANSWER_MILLIS = 500
/** A sentinel that takes longer to be ready is passed over. */
const CONNECT_MILLIS = 2000
/** The pause after all sentinels have been tried in vain, at first and at most. */
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 2000

/**
 * Hears from one sentinel, whichever is to be had and knows what the pool knows, that another server has become the
 * primary. One for a whole pool; holds no process alive. When it comes back after it had lost its sentinel, it asks what it
 * may have missed.
 */
export class SentinelWatch {
  readonly #sentinels: Sentinels
  readonly #known: KnownPrimary
  readonly #onSwitch: (to: Address) => void
  /** The walk from sentinel to sentinel that is under way. */
  #walk: object | undefined
  #client: SentinelClient | undefined
  #pause: Timer | undefined
  #wake: (() => void) | undefined
  #messages = 0

  constructor(sentinels: Sentinels, known: KnownPrimary, onSwitch: (to: Address) => void) {
    this.#sentinels = sentinels
    this.#known = known
    this.#onSwitch = onSwitch
  }

  start(): void {
    if (this.#walk !== undefined) return
    this.#walk = {}
    void this.#run(this.#walk)
  }

  stop(): void {
    this.#walk = undefined
    this.#pause?.cancel()
    this.#wake?.()
    if (this.#client !== undefined) destroyClient(this.#client)
  }

  async #run(walk: object): Promise<void> {
    let rounds = 0
    // It may have been stopped, and started anew, while this one was waiting.
    while (this.#walk === walk) {
      for (const endpoint of this.#sentinels.endpoints) {
        if (this.#walk !== walk) return
        if (await this.#listen(endpoint)) rounds = 0
      }
      if (this.#walk === walk) await this.#sleep(backoff(rounds, FIRST_PAUSE, LONGEST_PAUSE))
      // None may know what the pool knows, because they have all forgotten it.
      if (this.#walk === walk) await this.#askAll()
      rounds += 1
    }
  }

  /** Stays with a sentinel as long as it lives. @returns whether it lived at all */
  async #listen(endpoint: unknown): Promise<boolean> {
    const { target } = this.#sentinels
    const client = target.dial(endpoint) as SentinelClient
    this.#client = client
    let lived = false
    client.on('error', () => {})
    client.once('connect', () => streamOf(client)?.unref())
    client.on('message', (channel, message) => {
      if (channel === SWITCH) this.#heard(String(message))
    })
    const over = new Promise<void>(resolve => client.once('end', () => resolve()))
    let timer = systemClock.after(CONNECT_MILLIS, () => destroyClient(client))
    const ask = (): void => {
      timer = systemClock.after(ASK_MILLIS, () => {
        timer = systemClock.after(ANSWER_MILLIS, () => destroyClient(client))
        client.ping().then(
          () => {
            timer.cancel()
            ask()
          },
          () => destroyClient(client),
        )
      })
    }
    try {
      await client.connect()
      const messages = this.#messages
      // In this order and at once: what changes between the two is told on the channel.
      const asked = this.#sentinels.primaryOf(client)
      const [answer] = await Promise.all([asked, client.subscribe(SWITCH)])
      timer.cancel()
      // A message that is here already is newer than the answer, which would undo it.
      if (this.#messages === messages) this.#found(answer)
      if (log.pool.enabled) log.pool('sentinel watch of %s: %s', target.name, inWords(endpoint as Address))
      lived = true
      ask()
    } catch (error) {
      if (log.pool.enabled) log.pool('sentinel watch of %s: %s', target.name, messageOf(error))
      destroyClient(client)
    }
    await over
    timer.cancel()
    return lived
  }

  /** `<name> <old host> <old port> <new host> <new port>` */
  #heard(message: string): void {
    const [name, oldHost, oldPort, host, port] = message.split(' ')
    if (name !== this.#sentinels.target.name || oldHost === undefined || host === undefined) return
    this.#messages += 1
    const to = { host, port: Number(port) }
    const known = this.#known.address
    if (known !== undefined && isSameAddress(known, to)) return
    const switched = this.#known.switched({ host: oldHost, port: Number(oldPort) }, to)
    if (switched !== undefined) this.#onSwitch(switched)
    // It tells of a switch that the pool has not been through: one from before, or the second of two.
    else if (known !== undefined) void this.#askAll()
  }

  /** @throws if the sentinel is behind, or does not know the master: then another one is listened to */
  #found(answer: Answer | undefined): void {
    if (answer === undefined) throw this.#sentinels.lastError
    if (this.#known.isOutdated(answer))
      throw new Error(`the sentinel is behind: it names ${inWords(answer.address)}`)
    const switched = this.#known.learn({ answers: [answer], asked: this.#sentinels.endpoints.length })
    if (switched !== undefined) this.#onSwitch(switched)
  }

  async #askAll(): Promise<void> {
    const switched = this.#known.learn(await this.#sentinels.poll(true))
    if (switched !== undefined) this.#onSwitch(switched)
  }

  #sleep(millis: number): Promise<void> {
    return new Promise(resolve => {
      this.#wake = resolve
      this.#pause = systemClock.after(millis, resolve)
    })
  }
}
