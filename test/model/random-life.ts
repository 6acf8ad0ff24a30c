/*
 * One random life of a pool (an episode): acquires, releases, aborts, faults, resizes and stalls in random order, each step
 * checked against a model that predicts who is served, with what, and until when.
 */

import assert from 'node:assert/strict'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import type { Pool } from '../../src/pool/pool.ts'
import { CoarseClock, FakeClock } from '../support/clock.ts'
import { insidesOf } from '../support/insides.ts'
import type { Chance } from '../support/random.ts'
import { assertInvariants } from './invariants.ts'
import { type Call, type Connection, World } from './scripted-server.ts'

/** An acquire as the model knows it: who waits, in which order, until when; who holds what. */
interface Ask {
  readonly order: number
  readonly priority: number
  readonly deadline: number
  readonly abort: AbortController | undefined
  state: 'waiting' | 'holding' | 'refused' | 'ended'
  connection: Connection | undefined
  /** Ends a `use`, whose loan the pool ends by itself. */
  finish: (() => void) | undefined
}

/** One random life of a pool beside a reference model that predicts who is served, with what, and until when. */
export class Episode {
  readonly #chance: Chance
  readonly #clock: FakeClock
  readonly #world = new World()
  readonly #pool: Pool<Connection>
  readonly #asks: Ask[] = []
  readonly #lent = new Set<Connection>()
  /** Those that must not be lent again after their loan. */
  readonly #condemned = new Set<Connection>()
  readonly #uses = new Map<Connection, number>()
  /** How often the model knew what an acquire had to be given. */
  predictions = 0
  readonly #range: number
  #mostHeld: number
  /** Can the model know which idle connection comes next? */
  readonly #predicts: boolean
  #asked = 0
  #expected: { readonly ask: Ask; readonly connection: Connection } | undefined
  /** What the pool has lent in this step, in its order. */
  readonly #granted: Connection[] = []
  /** Who was told of a loan in this step although the youngest ask goes before it and knew of none. */
  readonly #disputed: { readonly served: Ask; readonly youngest: Ask }[] = []
  #last = 'made'
  /** What an acquire was told that it should not have been. */
  #surprise: Error | undefined

  constructor(chance: Chance) {
    this.#chance = chance
    this.#clock = chance.oneIn(2) ? new CoarseClock() : new FakeClock()
    const max = 1 + chance.below(6)
    this.#mostHeld = max
    this.#range = 1 + chance.below(3)
    const validate = chance.oneIn(2)
    const options: PoolOptions = {
      max,
      min: chance.below(max + 1),
      fifo: chance.oneIn(2),
      priorityRange: this.#range,
      acquireTimeoutMillis: chance.pick([20, 50, 500]),
      createTimeoutMillis: chance.pick([30, 200]),
      validateTimeoutMillis: 15,
      resetTimeoutMillis: 10,
      destroyTimeoutMillis: 25,
      drainTimeoutMillis: 300,
      testOnBorrow: validate && chance.oneIn(3),
      testOnReturn: validate && chance.oneIn(3),
      ...(chance.oneIn(3) ? { idleTimeoutMillis: 60, evictionRunIntervalMillis: 7 } : {}),
      ...(chance.oneIn(3) ? { maxLifetimeMillis: 150 } : {}),
      ...(chance.oneIn(6) ? { maxUses: 1 + chance.below(4) } : {}),
      ...(validate && chance.oneIn(3) ? { validateAfterIdleMillis: 12 } : {}),
      ...(chance.oneIn(4) ? { maxWaitingClients: chance.below(4) } : {}),
      // All asks of an episode share one context: every one would count as nested. test/nested has programs of its own.
      nested: 'allow',
      name: 'model',
    }
    // Where nothing but loans moves idle connections, the model knows which one comes next.
    this.#predicts = !options.testOnBorrow && options.validateAfterIdleMillis === undefined
    this.#pool = openPool(this.#world.factory({ validate, reset: chance.oneIn(3) }), options, false, {
      clock: this.#clock,
      random: chance.next,
    })
    this.#pool.on('acquire', ({ resource }) => this.#granted.push(resource))
  }

  async run(steps: number): Promise<void> {
    for (let step = 0; step < steps; step += 1) {
      await this.#step()
      await this.#clock.advance(0)
      this.#check()
    }
    await this.#end()
  }

  get #waiting(): Ask[] {
    return this.#asks.filter(ask => ask.state === 'waiting')
  }

  get #holding(): Ask[] {
    return this.#asks.filter(ask => ask.state === 'holding')
  }

  #step(): void | Promise<void> {
    const chance = this.#chance
    const holding = this.#holding
    const waiting = this.#waiting
    switch (chance.below(16)) {
      case 0:
      case 1:
        return this.#acquire(chance.oneIn(3))
      case 2:
      case 3:
        if (holding.length > 0) this.#giveBack(chance.pick(holding), 'release')
        return
      case 4:
        if (holding.length > 0 && chance.oneIn(2)) this.#giveBack(chance.pick(holding), 'destroy')
        return
      case 5:
        if (waiting.length > 0) chance.pick(waiting).abort?.abort(new Error('changed my mind'))
        return
      case 6:
      case 7:
        return this.#answer(this.#world.creates, () => this.#world.connect(), chance.oneIn(4))
      case 8:
        return this.#answer(this.#world.validates, () => !chance.oneIn(4), chance.oneIn(6))
      case 9:
        this.#answer(this.#world.resets, () => {}, chance.oneIn(6))
        return this.#answer(this.#world.destroys, () => {}, chance.oneIn(6))
      case 10:
        return this.#fault()
      case 11:
        if (chance.oneIn(4)) return this.#resize()
        if (chance.oneIn(4)) this.#pool.purge('model')
        else if (chance.oneIn(5)) this.#condemn()
        return
      case 12:
        if (chance.oneIn(6)) return this.#stall()
        this.#last = 'advance'
        return this.#clock.advance(1 + chance.below(chance.oneIn(5) ? 120 : 8))
      case 13:
      case 14:
        // Among other steps it is rare that nobody waits and a connection is idle.
        if (this.#next() !== undefined) return this.#acquire(chance.oneIn(3))
        if (holding.length > 0) this.#giveBack(chance.pick(holding), 'release')
        return
      default:
        return this.#misuse()
    }
  }

  #acquire(viaUse: boolean): void {
    this.#last = viaUse ? 'use' : 'acquire'
    const chance = this.#chance
    const priority = chance.below(this.#range)
    const abort = chance.oneIn(3) ? new AbortController() : undefined
    const timeoutMillis = chance.pick([undefined, undefined, 5, 40, false as const])
    const own = timeoutMillis ?? insidesOf(this.#pool).options.acquireTimeoutMillis
    const expected = this.#next()
    this.#asked += 1
    const ask: Ask = {
      order: this.#asked,
      priority,
      deadline: own === false ? Number.POSITIVE_INFINITY : this.#clock.now() + own,
      abort,
      state: 'waiting',
      connection: undefined,
      finish: undefined,
    }
    this.#asks.push(ask)
    const options = {
      priority,
      ...(abort === undefined ? {} : { signal: abort.signal }),
      ...(timeoutMillis === undefined ? {} : { timeoutMillis }),
    }
    const served = (connection: Connection): void => this.#served(ask, connection)
    const done = viaUse
      ? this.#pool.use(connection => {
          served(connection)
          return new Promise<void>(resolve => {
            ask.finish = resolve
          })
        }, options)
      : this.#pool.acquire(options).then(served)
    done
      .catch(error => this.#refused(ask, error))
      .catch(error => {
        this.#surprise ??= error
      })
    if (expected !== undefined) {
      this.#expected = { ask, connection: expected }
    }
  }

  /** What an acquire must be given at once: nobody waits, and this one is fit and next. */
  #next(): Connection | undefined {
    const { slots, connector, options } = insidesOf(this.#pool)
    if (!this.#predicts || this.#waiting.length > 0 || slots.size > options.max) return undefined
    const now = this.#clock.now()
    const fit = slots
      .idleSlots()
      .filter(slot => slot.fault === undefined && !(slot.resource as Connection).socket.destroyed)
      .filter(slot => slot.generation === connector.generation && now < slot.retireAt)
    return (options.fifo ? fit.at(0) : fit.at(-1))?.resource
  }

  /** The loop stands still for longer than most deadlines. */
  #stall(): Promise<void> {
    this.#last = 'stall'
    return this.#clock.stall(30 + this.#chance.below(200))
  }

  #served(ask: Ask, connection: Connection): void {
    assert.equal(ask.state, 'waiting', 'an acquire is settled once')
    assert.ok(!this.#lent.has(connection), `connection ${connection.id} is lent twice`)
    assert.ok(
      !this.#condemned.has(connection),
      `connection ${connection.id} was lent although it is unusable`,
    )
    const uses = (this.#uses.get(connection) ?? 0) + 1
    this.#uses.set(connection, uses)
    const { maxUses } = insidesOf(this.#pool).options
    assert.ok(uses <= maxUses, `connection ${connection.id} was lent ${uses} times, ${maxUses} allowed`)
    assert.ok(!connection.closed, `connection ${connection.id} was closed before it was lent`)
    assert.ok(!connection.socket.destroyed, `connection ${connection.id} was lent dead`)
    ask.state = 'holding'
    ask.connection = connection
    this.#lent.add(connection)
    const overtaken = this.#waiting.find(
      other => other.priority < ask.priority || (other.priority === ask.priority && other.order < ask.order),
    )
    // Promises of one step settle in the order of their grants, but for an ask that is served in the very call in which
    // it is made: it is awaited only after that.
    if (overtaken?.order === this.#asked) this.#disputed.push({ served: ask, youngest: overtaken })
    else assert.equal(overtaken, undefined, `ask ${ask.order} was served before ask ${overtaken?.order}`)
  }

  #refused(ask: Ask, error: { code?: string }): void {
    if (error instanceof assert.AssertionError) throw error
    if (ask.state !== 'waiting') throw error
    ask.state = 'refused'
    const now = this.#clock.now()
    switch (error.code) {
      case 'POOL_ACQUIRE_TIMEOUT':
        assert.ok(now >= ask.deadline, `timed out ${ask.deadline - now} ms before its deadline`)
        return
      case 'POOL_ABORTED':
        assert.ok(ask.abort?.signal.aborted, 'aborted although nobody asked for it')
        return
      case 'POOL_QUEUE_FULL':
        assert.ok(Number.isFinite(insidesOf(this.#pool).options.maxWaitingClients))
        return
      case 'POOL_UNHEALTHY':
      case 'POOL_CLOSED':
        return
      default:
        throw error
    }
  }

  #giveBack(ask: Ask, how: 'release' | 'destroy'): void {
    this.#last = how
    const connection = ask.connection as Connection
    ask.state = 'ended'
    this.#lent.delete(connection)
    if (ask.finish !== undefined && how === 'release') ask.finish()
    else this.#pool[how](connection).catch(error => queueMicrotask(() => assert.fail(error)))
    if (how === 'destroy') ask.finish?.()
  }

  #answer<R>(calls: Call<R>[], value: () => R, fails: boolean): void {
    if (calls.length === 0) return
    this.#last = fails ? 'hook fails' : 'hook answers'
    const [call] = calls.splice(this.#chance.below(calls.length), 1)
    if (fails) call?.reject(new Error('scripted'))
    else call?.resolve(value())
  }

  /** The server hangs up: on an idle connection, on a lent one, or on one in transit. */
  #fault(): void {
    const slots = [...insidesOf(this.#pool).slots.all].filter(slot => slot.resource !== undefined)
    if (slots.length === 0) return
    const { socket } = this.#chance.pick(slots).resource as Connection
    this.#last = 'fault'
    socket.destroy()
    if (this.#chance.oneIn(2)) socket.emit('close')
  }

  /** Its client says that a connection is unusable, or somebody destroys one that is not lent. */
  #condemn(): void {
    const all = [...insidesOf(this.#pool).slots.all].filter(slot => slot.resource !== undefined)
    if (all.length === 0) return
    const slot = this.#chance.pick(all)
    const connection = slot.resource as Connection
    const isClosing = slot.state === 'closing'
    const destroys = slot.state !== 'lent' && this.#chance.oneIn(2)
    this.#last = `${destroys ? 'destroy' : 'invalidate'} one that is ${slot.state}`
    if (!destroys) assert.equal(this.#pool.invalidate(connection, 'model'), !isClosing)
    else if (isClosing) assert.rejects(this.#pool.destroy(connection), { code: 'POOL_NOT_BORROWED' })
    else this.#pool.destroy(connection).catch(error => queueMicrotask(() => assert.fail(error)))
    if (slot.state === 'lent') this.#condemned.add(connection)
  }

  #resize(): void {
    const max = 1 + this.#chance.below(6)
    this.#last = `resize ${max}`
    this.#pool.resize({ max, min: this.#chance.below(max + 1) })
    this.#mostHeld = Math.max(max, insidesOf(this.#pool).slots.permitsInUse)
  }

  /** What callers do wrong: it is refused, and changes nothing. */
  async #misuse(): Promise<void> {
    this.#last = 'misuse'
    const before = JSON.stringify(this.#pool.stats())
    const ended = this.#asks.findLast(
      ask => ask.state === 'ended' && !this.#lent.has(ask.connection as Connection),
    )
    const refused = this.#pool.release(ended?.connection as Connection)
    await assert.rejects(refused, { code: 'POOL_NOT_BORROWED' })
    const after = this.#pool.stats()
    assert.equal(JSON.stringify(after), before)
  }

  #check(): void {
    try {
      if (this.#surprise !== undefined) throw this.#surprise
      if (this.#expected !== undefined) {
        const { ask, connection } = this.#expected
        this.predictions += 1
        this.#expected = undefined
        assert.equal(ask.connection, connection, `connection ${connection.id} was idle and next`)
      }
      this.#checkOrder()
      assertInvariants(this.#pool, this.#world, this.#mostHeld, this.#clock.now())
      assert.equal(this.#pool.pending, this.#waiting.length, 'pending = waiters that somebody awaits')
      assert.equal(this.#pool.borrowed, this.#holding.length, 'borrowed = loans that the model knows')
      this.#mostHeld = Math.max(this.#pool.max, insidesOf(this.#pool).slots.permitsInUse)
    } catch (error) {
      throw new Error(`after ${this.#last}: ${(error as Error).message}\n${this.#pool.report()}`, {
        cause: error,
      })
    }
  }

  #checkOrder(): void {
    const granted = this.#granted.splice(0)
    for (const { served, youngest } of this.#disputed.splice(0)) {
      const order = [youngest, served].map(ask => granted.indexOf(ask.connection as Connection))
      const [first = -1, second = -1] = order
      assert.ok(
        first >= 0 && first < second,
        `ask ${served.order} was served before ask ${youngest.order}: grants ${order}`,
      )
    }
  }

  /** Every episode ends with the end of the pool: by close, or by drain and clear. */
  async #end(): Promise<void> {
    this.#last = 'end'
    for (const ask of this.#holding) if (this.#chance.oneIn(2)) this.#giveBack(ask, 'release')
    const closing = this.#pool.close().catch(error => assert.equal(error.code, 'POOL_DRAIN_TIMEOUT'))
    await this.#clock.advance(3000)
    await closing
    assert.equal(this.#waiting.length, 0, 'nobody waits for a closed pool')
    // A create that ignored its signal may still bring a connection: it is closed on arrival.
    while (this.#world.creates.length > 0)
      this.#answer(this.#world.creates, () => this.#world.connect(), false)
    await this.#clock.advance(3000)
    assert.ifError(this.#surprise)
    assert.equal(this.#world.opened, this.#world.closed, 'opened = closed at the end')
    assert.equal(insidesOf(this.#pool).slots.all.size, 0, 'no slot is left')
    assert.equal(this.#clock.pending, 0, `timers are left: ${this.#clock.describe()}`)
  }
}
