import { messageOf } from '../../../api/errors.ts'
import { systemClock, type Timer } from '../../../runtime/clock.ts'
import { log } from '../../../runtime/log.ts'
import { destroyClient, streamOf } from '../client/client.ts'
import type { RedisClient } from '../client/client-types.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/** What the watch needs to know of the clients of its pool. */
export interface SentinelTarget {
  /** The name of the master, as the sentinels know it. */
  readonly name: string
  /** Whether its connections lead to the master, and not to replicas. */
  readonly toPrimary: boolean
  readonly endpoints: readonly unknown[]
  /** Makes an unconnected client to a sentinel. */
  dial(endpoint: unknown): RedisClient
}

type SentinelClient = RedisClient & {
  sentinel(...args: string[]): Promise<unknown>
  subscribe(channel: string): Promise<unknown>
}

const SWITCH = '+switch-master'
/** How often a sentinel is asked whether it still lives. Its answer has ioredis's `sentinelCommandTimeout`. */
const ASK_MILLIS = 2000
/** A sentinel that takes longer to be ready is passed over. */
const CONNECT_MILLIS = 2000
/** The pause after all sentinels have been tried in vain, at first and at most. */
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 2000

/**
 * Hears from one sentinel, whichever is to be had, that another server has become the primary. One for a whole pool;
 * holds no process alive. When it comes back after it had lost its sentinel, it asks what it may have missed.
 */
export class SentinelWatch {
  readonly #target: SentinelTarget
  readonly #onSwitch: (to: Address, from: Address | undefined) => void
  /** The walk from sentinel to sentinel that is under way. */
  #walk: object | undefined
  #client: SentinelClient | undefined
  #pause: Timer | undefined
  #wake: (() => void) | undefined
  #master: Address | undefined
  #messages = 0

  constructor(target: SentinelTarget, onSwitch: (to: Address, from: Address | undefined) => void) {
    this.#target = target
    this.#onSwitch = onSwitch
  }

  /** The primary, as far as the sentinels have been heard. */
  get master(): Address | undefined {
    return this.#master
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
    let pause = FIRST_PAUSE
    // It may have been stopped, and started anew, while this one was waiting.
    while (this.#walk === walk) {
      for (const endpoint of this.#target.endpoints) {
        if (this.#walk !== walk) return
        if (await this.#listen(endpoint)) pause = FIRST_PAUSE
      }
      if (this.#walk === walk) await this.#sleep(pause)
      pause = Math.min(pause * 2, LONGEST_PAUSE)
    }
  }

  /** Stays with a sentinel as long as it lives. @returns whether it lived at all */
  async #listen(endpoint: unknown): Promise<boolean> {
    const client = this.#target.dial(endpoint) as SentinelClient
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
        client.ping().then(ask, () => destroyClient(client))
      })
    }
    try {
      await client.connect()
      const messages = this.#messages
      // In this order and at once: what changes between the two is told on the channel.
      const asked = client.sentinel('get-master-addr-by-name', this.#target.name)
      const [address] = await Promise.all([asked, client.subscribe(SWITCH)])
      timer.cancel()
      lived = true
      // A message that is here already is newer than the answer, which would undo it.
      if (Array.isArray(address) && this.#messages === messages)
        this.#found({ host: String(address[0]), port: Number(address[1]) })
      if (log.pool.enabled) log.pool('sentinel watch of %s: %O', this.#target.name, endpoint)
      ask()
    } catch (error) {
      if (log.pool.enabled) log.pool('sentinel watch of %s: %s', this.#target.name, messageOf(error))
      destroyClient(client)
    }
    await over
    timer.cancel()
    return lived
  }

  /** `<name> <old host> <old port> <new host> <new port>` */
  #heard(message: string): void {
    const [name, oldHost, oldPort, host, port] = message.split(' ')
    if (name !== this.#target.name || oldHost === undefined || host === undefined) return
    this.#messages += 1
    this.#master = { host, port: Number(port) }
    this.#onSwitch(this.#master, { host: oldHost, port: Number(oldPort) })
  }

  #found(address: Address): void {
    const before = this.#master
    this.#master = address
    if (before !== undefined && !isSameAddress(before, address)) this.#onSwitch(address, before)
  }

  #sleep(millis: number): Promise<void> {
    return new Promise(resolve => {
      this.#wake = resolve
      this.#pause = systemClock.after(millis, resolve)
    })
  }
}

export const isSameAddress = (a: Address, b: Address): boolean => a.host === b.host && a.port === b.port
