import { messageOf } from '../../../api/errors.ts'
import { log } from '../../../runtime/log/log.ts'
import { backoff } from '../../../runtime/time/backoff.ts'
import { systemClock, type Timer } from '../../../runtime/time/clock.ts'
import { destroyClient, streamOf } from '../client/client.ts'
import { type Address, addressOf, inWords, isSameAddress } from './addresses.ts'
import type { KnownPrimary } from './known-primary.ts'
import type { Answer, SentinelClient, Sentinels } from './sentinels.ts'

const SWITCH = '+switch-master'
/**
 * How often the sentinel is asked whether it is alive. One that hangs would not report a switch, and writes would be
 * lost. Milliseconds.
 */
const ASK_MILLIS = 500
/**
 * How long it may take to answer. After a stall of this process the watch moves to another sentinel, which does no
 * harm. Milliseconds.
 */
const ANSWER_MILLIS = 500
/** A sentinel that takes longer to become ready is skipped. Milliseconds. */
const CONNECT_MILLIS = 2000
/** The first and the longest pause after all sentinels have failed. Milliseconds. */
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 2000

/**
 * Listens to one sentinel for the news that another server has become the primary. It uses any sentinel that is
 * reachable and not outdated. There is one watch per pool, and it does not keep the process alive. After it has lost
 * its sentinel, it asks the next one for what it may have missed.
 */
export class SentinelWatch {
  readonly #sentinels: Sentinels
  readonly #known: KnownPrimary
  readonly #onSwitch: (to: Address) => void
  /** The current loop over the sentinels. A new object marks each start. */
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
    // The watch may have been stopped and started again while this loop was waiting.
    while (this.#walk === walk) {
      for (const endpoint of this.#sentinels.endpoints) {
        if (this.#walk !== walk) return
        if (await this.#listen(endpoint)) rounds = 0
      }
      if (this.#walk === walk) await this.#sleep(backoff(rounds, FIRST_PAUSE, LONGEST_PAUSE))
      // If every sentinel seems outdated, all of them may have lost their state.
      if (this.#walk === walk) await this.#askAll()
      rounds += 1
    }
  }

  /**
   * Listens to a sentinel as long as it lives.
   * @returns whether it could be used at all
   */
  async #listen(endpoint: unknown): Promise<boolean> {
    const { target } = this.#sentinels
    const client = target.dial(endpoint) as SentinelClient
    this.#client = client
    let lived = false
    client.on('error', () => {})
    client.once('connect', () => streamOf(client)?.unref())
    client.on('message', (channel, message) => {
      if (channel === SWITCH) this.#onMessage(String(message))
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
      // Sent together and in this order: a change after the first answer is announced on the channel.
      const asked = this.#sentinels.primaryOf(client)
      const [answer] = await Promise.all([asked, client.subscribe(SWITCH)])
      timer.cancel()
      // A message that has already arrived is newer than the answer, which would undo it.
      if (this.#messages === messages) this.#onAnswer(answer)
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

  /** Handles a message: `<name> <old host> <old port> <new host> <new port>`. */
  #onMessage(message: string): void {
    const [name, oldHost, oldPort, host, port] = message.split(' ')
    const [from, to] = [addressOf(oldHost, oldPort), addressOf(host, port)]
    if (name !== this.#sentinels.target.name || from === undefined || to === undefined) return
    this.#messages += 1
    const known = this.#known.address
    if (known !== undefined && isSameAddress(known, to)) return
    const switched = this.#known.switched(from, to)
    if (switched !== undefined) this.#onSwitch(switched)
    // The message is about a switch that the pool has not followed: an earlier one, or the second of two.
    else if (known !== undefined) void this.#askAll()
  }

  /** @throws if the sentinel is outdated or does not know the master; the watch then moves to the next one */
  #onAnswer(answer: Answer | undefined): void {
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
