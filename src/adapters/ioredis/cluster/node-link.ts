import type { Socket } from 'node:net'
import type { Redis } from 'ioredis'
import { PoolError } from '../../../api/errors.ts'
import type { ControlConnection, ControlPlace } from '../../../connecting/control-place.ts'
import { systemClock, type Timer } from '../../../runtime/time/clock.ts'
import { destroyClient, streamOf } from '../client/client.ts'
import type { Client, Command } from '../client/client-types.ts'
import { type Address, inWords } from '../failover/addresses.ts'
import { muteness } from './heard.ts'
import type { LinkHost, OnAsk } from './questions.ts'
import { answerWithin, askIsPrimary, askPing, askView, NodeTime, NotAsked } from './questions.ts'
import { type Redirect, SentCommands } from './redirect.ts'
import type { View } from './view.ts'

/** How long a node may take to answer, connecting included. Longer than `OPEN_MILLIS`. Milliseconds. */
const ANSWER_MILLIS = 1000
/** How long it waits for a connection or a place of the node's pool that has none to spare. Milliseconds. */
const PLACE_MILLIS = 200
/** For how long it may be used while an acquire waits for its place. Milliseconds. */
const TURN_MILLIS = 50
/**
 * For so long it stays after a command for which the pool gave up a connection, as there may be more; and after one for
 * which there was no place at all, as it may be repeated. Milliseconds.
 */
const LINGER_MILLIS = 10
const LONG_LINGER_MILLIS = 150

/**
 * The pool's own connection to a node: to ask it for the topology and whether it is alive, and to send it single commands
 * of a slot that is being moved to it. It never keeps the process alive.
 *
 * It counts against the `max` of the node's pool. If that has no place for it, it asks over a connection of the pool that
 * is not lent. It gives its place back when an acquire waits for that. Only if nothing is free or returned within 200 ms
 * is it opened although there is no place, and closed after the answer: such a node may have stopped, and a command that it sends may
 * be what the loans wait for.
 */
export class NodeLink implements ControlConnection {
  readonly #address: Address
  readonly #host: LinkHost
  #opening: Promise<Client> | undefined
  #client: Client | undefined
  /** Aborts the connect in progress. */
  #abort = new AbortController()
  /** Stands for the latest connect. */
  #latest: object | undefined
  #isClosed = false
  /** Where it counts. */
  #place: ControlPlace<Redis> | undefined
  /** Questions and commands in progress, and how many of them are commands. */
  #inUse = 0
  #commands = 0
  /** It stays until then, although an acquire waits. */
  #lingersUntil = 0
  /** Since when an acquire waits for its place. */
  #neededSince: number | undefined
  #givesWay: Timer | undefined
  /** How often it has been closed for that. */
  #wayGiven = 0
  /** How many claims of a place are in progress. */
  #claims = 0
  readonly #sent = new SentCommands()
  readonly #time = new NodeTime()
  readonly #isMute = muteness(() => (this.#client === undefined ? [] : [this.#client]))

  constructor(address: Address, host: LinkHost) {
    this.#address = address
    this.#host = host
  }

  /** Can it ask at once, and no acquire has to wait for that? */
  get canAsk(): boolean {
    return this.#isOpen || this.#host.placeAt(this.#address)?.canAsk !== false
  }

  get #isOpen(): boolean {
    return this.#opening !== undefined || this.#client?.status === 'ready'
  }

  /** Set while the node is not to be connected to, as it has refused that. */
  get #refusal(): NotAsked | undefined {
    return this.#isOpen ? undefined : this.#host.refusalOf(this.#address)
  }

  /** The node has got a pool, against whose `max` it counts from now on. */
  moveInto(place: ControlPlace<Redis>): void {
    if (!this.#isOpen) return
    this.#place = place
    place.enter(this)
  }

  giveWay(): void {
    const now = systemClock.now()
    this.#neededSince ??= now
    if (this.#givesWay !== undefined) return
    const turn = this.#neededSince + TURN_MILLIS
    const millis = Math.min(turn, this.#inUse > 0 ? turn : this.#lingersUntil) - now
    if (millis > 0) this.#givesWay = systemClock.after(millis, () => this.#lookAgain())
    // A command goes on: it may have been carried out already.
    else if (this.#commands === 0) {
      this.#wayGiven += 1
      this.#end()
    }
  }

  #lookAgain(): void {
    this.#givesWay?.cancel()
    this.#givesWay = undefined
    if (this.#neededSince !== undefined) this.giveWay()
    else this.tidy()
  }

  /** Has it been used for long enough while an acquire waits for its place? */
  get #isOverdue(): boolean {
    return this.#neededSince !== undefined && systemClock.now() - this.#neededSince >= TURN_MILLIS
  }

  /** Asks the node for the topology. */
  view(): Promise<View> {
    return this.#timed(client => askView(client, this.#address, this.#host.translate))
  }

  /** Asks the node whether it is a primary. */
  isPrimary(): Promise<boolean> {
    return this.#timed(askIsPrimary)
  }

  /**
   * Rejects if the node does not answer in time; with `NotAsked` if that is not known. An error reply is an answer.
   *
   * @param onAsk - called when the question begins, and each time when credentials are asked for or the node is
   */
  ping(onAsk: OnAsk): Promise<void> {
    return this.#timed(askPing, onAsk)
  }

  /**
   * Sends a command that has been sent to another node before. It settles as usual.
   *
   * @param held - how many connections of the node the sender holds itself
   * @returns where it must be sent instead, if it was not carried out
   */
  async send(command: Command, asking: boolean, held: number): Promise<Redirect | undefined> {
    if (this.#refusal) throw this.#refusal
    const place = this.#host.placeAt(this.#address)
    if (place !== undefined && !this.#hasPlace(place)) {
      this.#claims += 1
      if ((await place.claim(this, PLACE_MILLIS, held)) && place.take(this)) this.#place = place
      this.#claims -= 1
      this.#lingersUntil = Number.POSITIVE_INFINITY
    } else if (this.#place === undefined) {
      this.#lingersUntil = Number.POSITIVE_INFINITY
      // It was opened although there was no place, and may be used without end.
      if (place !== undefined && this.#claims === 0) void this.#claim(place, held)
    }
    this.#commands += 1
    try {
      return await this.#during(client => this.#sent.send(client, command, asking))
    } finally {
      this.#commands -= 1
      this.tidy()
    }
  }

  /** Gets a place for a connection that has none, while it is used. */
  async #claim(place: ControlPlace<Redis>, held: number): Promise<void> {
    this.#claims += 1
    const isGranted = await place.claim(this, PLACE_MILLIS, held)
    this.#claims -= 1
    // A command that has waited for it as well goes on with it.
    if (!isGranted || this.#claims > 0) return
    if (this.#isOpen && place.take(this)) this.#place = place
    else if (this.#place === undefined) place.leave(this)
  }

  close(): void {
    this.#isClosed = true
    this.#end()
  }

  #end(): void {
    this.#givesWay?.cancel()
    this.#givesWay = undefined
    this.#abort.abort(new Error('the link to the node was closed'))
    if (!this.#isClosed) this.#abort = new AbortController()
    const client = this.#client
    this.#client = undefined
    if (client !== undefined) destroyClient(client)
  }

  /** May it be used, as it is open, or may be opened in a place of its own? */
  #hasPlace(place = this.#host.placeAt(this.#address)): boolean {
    if (this.#isOpen) return !this.#isOverdue
    if (place === undefined) return true
    // The one before is being closed.
    if (this.#place !== undefined || !place.take(this)) return false
    this.#place = place
    return true
  }

  /** Asks over this connection, or over one of the pool where there is no place for it. */
  async #answer<R>(question: (client: Client) => Promise<R>, onAsk: OnAsk): Promise<R> {
    const ask = (client: Client): Promise<R> => {
      onAsk(true)
      return question(client)
    }
    const askPool = () =>
      this.#host.placeAt(this.#address)?.ask(client => ask(client as unknown as Client), PLACE_MILLIS)
    const found = !this.#refusal && this.#hasPlace() ? undefined : await askPool()
    if (found !== undefined) return found.answer
    if (this.#refusal) throw this.#refusal
    // The node may have another pool by now.
    this.#hasPlace()
    const before = this.#wayGiven
    try {
      return await this.#time.during(this.#during(question), onAsk)
    } catch (error) {
      if (this.#wayGiven === before) throw error
      const instead = await askPool()
      if (instead === undefined) throw new NotAsked('an acquire needed the connection', { cause: error })
      return instead.answer
    }
  }

  async #during<R>(use: (client: Client) => Promise<R>): Promise<R> {
    this.#inUse += 1
    try {
      return await use(await this.#connected())
    } finally {
      this.#inUse -= 1
      this.tidy()
    }
  }

  /** Ends it if nobody uses it and it counts nowhere. @returns whether it can be forgotten, as its node is none of the cluster */
  tidy(): boolean {
    if (this.#inUse > 0 || this.#commands > 0) return false
    const place = this.#host.placeAt(this.#address)
    const now = systemClock.now()
    if (this.#lingersUntil === Number.POSITIVE_INFINITY)
      this.#lingersUntil = now + (this.#place === undefined ? LONG_LINGER_MILLIS : LINGER_MILLIS)
    const isStranger = place === undefined && this.#host.isStranger(this.#address)
    if (this.#isOpen && (isStranger || (place !== undefined && this.#place === undefined))) {
      // It was opened although there was no place.
      if (place?.take(this)) this.#place = place
      else if (now >= this.#lingersUntil) this.#end()
      else this.#givesWay ??= systemClock.after(this.#lingersUntil - now, () => this.#lookAgain())
    } else if (this.#neededSince !== undefined) this.#lookAgain()
    return isStranger && !this.#isOpen && this.#place === undefined
  }

  /** Its socket is closed, or none was made. If there is a new one already, that has the place. */
  #left(connect: object): void {
    if (this.#latest !== connect) return
    const place = this.#place
    this.#place = undefined
    this.#neededSince = undefined
    this.#lingersUntil = 0
    this.#givesWay?.cancel()
    this.#givesWay = undefined
    place?.leave(this)
  }

  #timed<R>(ask: (client: Client) => Promise<R>, onAsk: OnAsk = () => {}): Promise<R> {
    const silent = (): Error => {
      const isMute = this.#isMute() && this.#neededSince !== undefined
      // A client that others wait for goes on: a command of theirs may take longer.
      if (this.#inUse > 0 && (this.#commands === 0 || isMute)) this.#end()
      return new PoolError('POOL_CONNECT_FAILED', `the node ${inWords(this.#address)} does not answer`)
    }
    return answerWithin(ANSWER_MILLIS, () => this.#answer(ask, onAsk), silent, this.#time)
  }

  #connected(): Promise<Client> {
    if (this.#client?.status === 'ready') return Promise.resolve(this.#client)
    this.#opening ??= this.#connect()
    return this.#opening
  }

  async #connect(): Promise<Client> {
    const connect = {}
    this.#latest = connect
    const ended = this.#abort.signal
    let stream: Socket | undefined
    try {
      const client = await this.#host.open(this.#address, ended, this.#time)
      stream = streamOf(client)
      stream?.unref()
      this.#sent.watch(client, this.#address.host, this.#host.translate)
      this.#client = client
      stream?.once('close', () => this.#left(connect))
      if (ended.aborted || this.#isClosed) this.#end()
      return client
    } finally {
      // Before its place is given back: that may be granted to it again at once.
      this.#opening = undefined
      this.#time.end()
      if (stream === undefined || stream.closed) this.#left(connect)
    }
  }
}
