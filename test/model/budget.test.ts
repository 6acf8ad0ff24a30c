import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Budget } from '../../src/api/budget.ts'
import { createBudget, type Pool } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { insidesOf } from '../support/insides.ts'
import { Chance, seedFrom } from '../support/random.ts'
import { type Call, type Connection, World } from './scripted-server.ts'

const STEPS = 150
const EPISODES = Number(process.env.LIFEGUARD_EPISODES ?? 150)

interface Ask {
  readonly tenant: Tenant
  readonly abort: AbortController
  readonly isPatient: boolean
  state: 'waiting' | 'holding' | 'ended'
  connection: Connection | undefined
}

interface Tenant {
  readonly world: World
  readonly pool: Pool<Connection>
  closing: Promise<unknown> | undefined
}

/** Random lives of pools that share one budget. */
class Episode {
  readonly #chance: Chance
  readonly #clock = new FakeClock()
  readonly #budget: Budget
  readonly #tenants: Tenant[] = []
  #asks: Ask[] = []
  #last = 'made'
  #surprise: unknown

  constructor(chance: Chance) {
    this.#chance = chance
    this.#budget = createBudget({ max: 1 + chance.below(8) })
    for (let left = 1 + chance.below(4); left > 0; left -= 1) this.#open()
  }

  async run(): Promise<void> {
    for (let step = 0; step < STEPS; step += 1) {
      await this.#step()
      await this.#clock.advance(0)
      this.#check()
    }
    await this.#recover()
    await this.#end()
  }

  #open(): void {
    this.#last = 'open'
    const chance = this.#chance
    const world = new World()
    const max = 1 + chance.below(6)
    const validate = chance.oneIn(3)
    try {
      const pool = openPool(
        world.factory({ validate, reset: chance.oneIn(4) }),
        {
          max,
          min: chance.oneIn(2) ? 0 : chance.below(max + 1),
          fifo: chance.oneIn(2),
          createTimeoutMillis: 60,
          validateTimeoutMillis: 15,
          resetTimeoutMillis: 10,
          destroyTimeoutMillis: 25,
          acquireTimeoutMillis: false,
          drainTimeoutMillis: 200,
          testOnBorrow: validate && chance.oneIn(3),
          ...(chance.oneIn(3) ? { idleTimeoutMillis: 60, evictionRunIntervalMillis: 7 } : {}),
          nested: 'allow',
          budget: this.#budget,
        },
        false,
        { clock: this.#clock, random: chance.next },
      )
      this.#tenants.push({ world, pool, closing: undefined })
    } catch (error) {
      // Its min and those of the others do not fit in.
      assert.match((error as Error).message, /the max of the budget/)
    }
  }

  get #openTenants(): Tenant[] {
    return this.#tenants.filter(({ closing }) => closing === undefined)
  }

  #step(): void | Promise<void> {
    const chance = this.#chance
    if (this.#openTenants.length === 0) return this.#open()
    const tenant = chance.pick(this.#tenants)
    const holding = this.#asks.filter(ask => ask.state === 'holding')
    const waiting = this.#asks.filter(ask => ask.state === 'waiting')
    switch (chance.below(14)) {
      case 0:
      case 1:
      case 2:
        return this.#acquire(chance.pick(this.#openTenants), chance.oneIn(3))
      case 3:
      case 4:
      case 5:
        if (holding.length > 0) this.#giveBack(chance.pick(holding), chance.oneIn(4) ? 'destroy' : 'release')
        return
      case 6:
        if (waiting.length > 0) chance.pick(waiting).abort.abort(new Error('changed my mind'))
        return
      case 7:
      case 8:
        return this.#answer(tenant.world.creates, () => tenant.world.connect(), chance.oneIn(5))
      case 9:
        this.#answer(tenant.world.validates, () => !chance.oneIn(4), chance.oneIn(6))
        return this.#answer(tenant.world.resets, () => {}, chance.oneIn(6))
      case 10:
        return this.#answer(tenant.world.destroys, () => {}, chance.oneIn(6))
      case 11:
        if (chance.oneIn(3)) return void tenant.pool.purge('model')
        if (chance.oneIn(3)) return this.#resize(chance.pick(this.#openTenants))
        if (chance.oneIn(4)) return this.#close(tenant)
        if (chance.oneIn(2)) return this.#open()
        return
      case 12:
        if (chance.oneIn(8)) return this.#clock.stall(30 + chance.below(100))
        return this.#clock.advance(1 + chance.below(chance.oneIn(5) ? 80 : 6))
      default: {
        const idle = insidesOf(tenant.pool).slots.idleSlots()
        this.#last = 'fault'
        if (idle.length > 0) tenant.pool.invalidate(chance.pick(idle).resource as Connection)
      }
    }
  }

  #acquire(tenant: Tenant, isPatient: boolean): void {
    this.#last = 'acquire'
    const ask: Ask = {
      tenant,
      abort: new AbortController(),
      isPatient,
      state: 'waiting',
      connection: undefined,
    }
    this.#asks.push(ask)
    const timeoutMillis = isPatient ? false : this.#chance.pick([5, 40, 500])
    tenant.pool.acquire({ signal: ask.abort.signal, timeoutMillis }).then(
      connection => {
        ask.state = 'holding'
        ask.connection = connection
      },
      error => {
        ask.state = 'ended'
        if (!['POOL_ACQUIRE_TIMEOUT', 'POOL_ABORTED', 'POOL_UNHEALTHY', 'POOL_CLOSED'].includes(error.code))
          this.#surprise ??= error
      },
    )
  }

  #giveBack(ask: Ask, how: 'release' | 'destroy'): void {
    this.#last = how
    ask.state = 'ended'
    ask.tenant.pool[how](ask.connection as Connection).catch(error => {
      // The pool was closed by force.
      if (ask.tenant.closing === undefined) this.#surprise ??= error
    })
  }

  #resize({ pool }: Tenant): void {
    this.#last = 'resize'
    const max = 1 + this.#chance.below(6)
    try {
      pool.resize({ max, min: this.#chance.below(max + 1) })
    } catch (error) {
      assert.match((error as Error).message, /the max of the budget/)
    }
  }

  #close(tenant: Tenant): void {
    this.#last = 'close'
    tenant.closing ??= tenant.pool.close().catch(error => assert.equal(error.code, 'POOL_DRAIN_TIMEOUT'))
  }

  #answer<R>(calls: Call<R>[], value: () => R, fails: boolean): void {
    const call = calls.length === 0 ? undefined : calls.splice(this.#chance.below(calls.length), 1)[0]
    if (call === undefined) return
    this.#last = fails ? 'hook fails' : 'hook answers'
    if (fails) call.reject(new Error('the model says no'))
    else call.resolve(value())
  }

  #check(): void {
    try {
      this.#assertInvariants()
    } catch (error) {
      const reports = this.#tenants.map(({ pool }) => pool.report()).join('\n')
      throw new Error(
        `after ${this.#last}: ${(error as Error).message}\n${this.#budget.report()}\n${reports}`,
        {
          cause: error,
        },
      )
    }
  }

  #assertInvariants(): void {
    assert.ifError(this.#surprise)
    const { max, used, reserved } = this.#budget.stats()
    const parts = this.#tenants.map(({ pool }) => insidesOf(pool))
    const sum = parts.reduce((total, { slots }) => total + slots.permitsInUse, 0)
    assert.equal(used, sum, 'used = the connections of all pools, closing ones included')
    assert.ok(used <= max, `${used} of ${max}`)
    const wanting = parts.filter(({ connector }) => connector.wanted > 0)
    if (wanting.length === 0) return
    for (const { connector, options } of wanting) {
      const { capacity } = connector
      assert.ok(
        (capacity.share?.free ?? 0) <= 0 || isBeingGivenUp(parts),
        `${options.name} could connect, and does not`,
      )
    }
    assert.ok(used + reserved >= max || isBeingGivenUp(parts), 'a pool waits, and a place is free')
  }

  /** Once faults cease and everybody gives back, everybody who waits is served. */
  async #recover(): Promise<void> {
    this.#last = 'recovery'
    for (let round = 0; round < 300; round += 1) {
      for (const { world } of this.#tenants) {
        while (world.creates.length > 0) this.#answer(world.creates, () => world.connect(), false)
        while (world.validates.length > 0) this.#answer(world.validates, () => true, false)
        while (world.resets.length > 0) this.#answer(world.resets, () => {}, false)
        while (world.destroys.length > 0) this.#answer(world.destroys, () => {}, false)
      }
      for (const ask of this.#asks) if (ask.state === 'holding') this.#giveBack(ask, 'release')
      await this.#clock.advance(this.#chance.pick([0, 1, 1, 60]))
      this.#check()
      this.#asks = this.#asks.filter(ask => ask.state !== 'ended')
      if (this.#asks.length === 0) return
    }
    throw new Error(`${this.#asks.length} still wait although nothing fails:\n${this.#budget.report()}`)
  }

  async #end(): Promise<void> {
    this.#last = 'end'
    while (this.#openTenants.length > 0) {
      this.#close(this.#chance.pick(this.#openTenants))
      await this.#clock.advance(this.#chance.pick([0, 10, 400]))
      this.#check()
    }
    await this.#clock.advance(3000)
    await Promise.all(this.#tenants.map(({ closing }) => closing))
    for (const { world } of this.#tenants)
      while (world.creates.length > 0) this.#answer(world.creates, () => world.connect(), false)
    await this.#clock.advance(3000)
    const { used, reserved, pools } = this.#budget.stats()
    assert.deepEqual({ used, reserved, pools }, { used: 0, reserved: 0, pools: [] })
    for (const { world } of this.#tenants)
      assert.equal(world.opened, world.closed, 'opened = closed at the end')
    assert.equal(this.#clock.pending, 0, `timers are left: ${this.#clock.describe()}`)
  }
}

type Parts = ReturnType<typeof insidesOf<Connection>>

/** Is a connection closing, whose place the next one in turn gets? */
const isBeingGivenUp = (parts: readonly Parts[]): boolean =>
  parts.some(({ slots }) => slots.counts.closing > 0)

test('random lives of pools on one budget: never above it, nobody is forgotten, and all is returned', async t => {
  const seed = seedFrom('LIFEGUARD_SEED')
  t.diagnostic(`seed ${seed}: repeat with LIFEGUARD_SEED=${seed}; ${EPISODES} episodes of ${STEPS} steps`)
  for (let episode = 0; episode < EPISODES; episode += 1) {
    try {
      await new Episode(new Chance(seed + episode)).run()
    } catch (error) {
      throw new Error(`LIFEGUARD_SEED=${seed + episode} LIFEGUARD_EPISODES=1: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }
})
