/*
 * Every hook of a factory with every behaviour, under every way in which its caller may leave: each acquire ends in time, no
 * invariant breaks, and once the hook behaves everything comes to a good end.
 */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Factory } from '../../src/api/factory.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { type Pool, partsOf } from '../../src/pool/pool.ts'
import { assertInvariants } from '../model/invariants.ts'
import { type Connection, FakeSocket, type World } from '../model/scripted-server.ts'
import { settle } from '../support/clock.ts'
import { assertAtRest } from './at-rest.ts'
import { StepClock } from './step-clock.ts'

const HOOKS = [
  ...['create', 'prepare', 'destroy', 'validate', 'reset'],
  ...['socket', 'busy', 'unsolicited', 'lastUsed', 'expiresAt', 'isPermanent', 'serverIdleTimeout'],
] as const
type Hook = (typeof HOOKS)[number]
const BEHAVIOURS = ['ok', 'rejects', 'throws', 'slow', 'never', 'twice', 're-entrant', 'nonsense'] as const
type Behaviour = (typeof BEHAVIOURS)[number]
const ENDS = ['no cancel', 'abort', 'timeout', 'close'] as const
type End = (typeof ENDS)[number]

/** These must answer at once: what is later is no answer. */
const SYNCHRONOUS: ReadonlySet<Hook> = new Set([
  ...(['socket', 'busy', 'unsolicited', 'lastUsed', 'expiresAt', 'isPermanent'] as const),
])

const ACQUIRE_MILLIS = 400
const HOOK_MILLIS = 100
const SLOW_MILLIS = 60
/** Two graces after stalls are not needed here: nothing stalls. The rest are turns. */
const SPARE_MILLIS = 5

class Trial {
  readonly clock = new StepClock()
  readonly pool: Pool<Connection>
  readonly hook: Hook
  behaviour: Behaviour
  opened = 0
  closed = 0
  calls = 0
  readonly #late: (() => void)[] = []

  constructor(hook: Hook, behaviour: Behaviour) {
    this.hook = hook
    this.behaviour = behaviour
    const options: PoolOptions = {
      ...{ max: 2, min: 1, acquireTimeoutMillis: ACQUIRE_MILLIS, drainTimeoutMillis: 1000 },
      ...{ createTimeoutMillis: HOOK_MILLIS, destroyTimeoutMillis: HOOK_MILLIS },
      ...{ validateTimeoutMillis: HOOK_MILLIS, resetTimeoutMillis: HOOK_MILLIS },
      ...{ nested: 'allow', captureStacks: 'off', name: 'hooks' },
      ...(hook === 'validate' ? { testOnBorrow: true } : {}),
      ...(hook === 'lastUsed' ? { leakThresholdMillis: 1000 } : {}),
    }
    const environment = { clock: this.clock, random: () => 0.5 }
    this.pool = openPool(this.#factory(), options, false, environment)
    this.pool.on('error', () => {})
  }

  /** Lets everything happen until this time. */
  async until(at: number, isOver: () => boolean = () => false): Promise<void> {
    for (let round = 0; !isOver(); round += 1) {
      assert.ok(round < 3000, 'it never comes to rest')
      await settle()
      await this.clock.turnLoop(() => 0)
      await settle()
      this.check()
      if (this.clock.turnsPending > 0) continue
      if (this.clock.nextAt > at || this.clock.nextAt === Number.POSITIVE_INFINITY) {
        this.clock.idleUntil(at)
        return
      }
      this.clock.fire()
    }
  }

  check(): void {
    const { slots } = partsOf(this.pool).context
    const { counts } = slots
    const owned = counts.idle + counts.validating + counts.lent + counts.resetting
    const isDue = this.clock.nextAt === this.clock.now() || this.clock.turnsPending > 0
    // Some may be on their way in or out, and belong to nobody: at the end they are counted.
    const opened = Math.min(this.opened, this.closed + owned)
    assertInvariants(
      this.pool,
      { opened, closed: this.closed } as World,
      2,
      this.clock.now() - (isDue ? 1 : 0),
    )
  }

  #factory(): Factory<Connection> {
    const { hook } = this
    const act = <R>(name: Hook, good: () => R): R => (name === hook ? this.#act(good) : good())
    const later = async <R>(name: Hook, good: () => R): Promise<R> => await act(name, good)
    const answers: Record<Exclude<Hook, 'create' | 'destroy'>, (connection: Connection) => unknown> = {
      prepare: () => later('prepare', () => {}),
      validate: () => act('validate', () => true),
      reset: () => act('reset', () => {}),
      socket: ({ socket }) => act('socket', () => socket),
      busy: () => act('busy', () => false),
      unsolicited: () => act('unsolicited', () => false),
      lastUsed: () => act('lastUsed', () => this.clock.now()),
      expiresAt: () => act('expiresAt', () => undefined),
      isPermanent: () => act('isPermanent', () => false),
      serverIdleTimeout: () => later('serverIdleTimeout', () => 0),
    }
    return {
      create: () =>
        act('create', () => {
          // What `isPermanent` is asked about.
          if (hook === 'isPermanent' && this.calls === 0 && this.opened === 1) throw new Error('refused')
          this.opened += 1
          return { id: this.opened, socket: new FakeSocket(), closed: false }
        }),
      destroy: connection => {
        if (!connection.closed) this.closed += 1
        connection.closed = true
        return act('destroy', () => void connection.socket.destroy())
      },
      socket: ({ socket }) => socket as never,
      ...(hook === 'create' || hook === 'destroy' ? {} : { [hook]: answers[hook] }),
    } as Factory<Connection>
  }

  #act<R>(good: () => R): R {
    this.calls += 1
    const { clock, pool } = this
    const later = (run: (settle: { resolve(value: R): void; reject(error: Error): void }) => void): R =>
      new Promise<R>((resolve, reject) => run({ resolve, reject })) as R
    switch (this.behaviour) {
      case 'ok':
        return good()
      case 'rejects':
        return Promise.reject(new Error('scripted')) as R
      case 'throws':
        throw new Error('scripted')
      case 'slow':
        return later(({ resolve }) => void clock.after(SLOW_MILLIS, () => resolve(good())))
      case 'never':
        return later(({ resolve }) => void this.#late.push(() => resolve(good())))
      case 'twice':
        return later(({ resolve, reject }) => {
          const value = good()
          resolve(value)
          reject(new Error('scripted'))
          clock.after(HOOK_MILLIS, () => resolve(value))
        })
      case 're-entrant':
        this.#reenter(pool)
        return good()
      default:
        if (this.hook === 'create') this.opened += 1
        return Symbol('nonsense') as R
    }
  }

  /** Everything that a hook might call, on the pool that called it. */
  #reenter(pool: Pool<Connection> | undefined): void {
    // The first create runs while the pool is being made.
    if (pool === undefined || this.calls > 3) return
    const ignore = (promise: Promise<unknown>): void => void promise.catch(() => {})
    ignore(pool.use(() => {}, { timeoutMillis: 50 }))
    ignore(pool.acquire({ timeoutMillis: 50 }).then(connection => pool.release(connection)))
    for (const { resource } of partsOf(pool).context.slots.all) {
      if (resource === undefined) continue
      pool.invalidate(resource, 're-entrant')
      ignore(pool.release(resource))
    }
    pool.purge('re-entrant')
    pool.resize({ max: 2, min: 1 })
    pool.stats()
    pool.report()
    ignore(pool.clear())
  }

  /** From now on the hook behaves, and what it still owes comes. */
  recover(): void {
    this.behaviour = 'ok'
    for (const run of this.#late.splice(0)) run()
  }
}

async function run(hook: Hook, behaviour: Behaviour, end: End): Promise<void> {
  const trial = new Trial(hook, behaviour)
  const { clock, pool } = trial
  const abort = new AbortController()
  const asked: { at: number; bound: number; state: 'waiting' | 'served' | 'refused' }[] = []
  const limit = end === 'timeout' ? 40 : ACQUIRE_MILLIS
  for (let count = 0; count < 3; count += 1) {
    const one = { at: clock.now(), bound: clock.now() + limit + SPARE_MILLIS, state: 'waiting' as const }
    const record: (typeof asked)[number] = one
    asked.push(record)
    const settled = (state: 'served' | 'refused'): void => {
      record.state = state
      assert.ok(clock.now() <= record.bound, `${state} ${clock.now() - record.bound} ms too late`)
    }
    const options = { signal: abort.signal, ...(end === 'timeout' ? { timeoutMillis: 40 } : {}) }
    pool
      .use(() => {
        settled('served')
        return new Promise<void>(resolve => clock.after(10, resolve))
      }, options)
      .catch(() => record.state === 'waiting' && settled('refused'))
  }
  await trial.until(clock.now() + 20)
  if (end === 'abort') abort.abort(new Error('changed my mind'))
  let closing: Promise<unknown> | undefined
  if (end === 'close') closing = pool.close().catch(error => assert.equal(error.code, 'POOL_DRAIN_TIMEOUT'))
  await trial.until(clock.now() + 1500)
  assert.deepEqual(
    asked.filter(({ state }) => state === 'waiting'),
    [],
    'everybody has an answer',
  )
  trial.recover()
  if (closing === undefined) await everybodyIsServed(trial)
  let hasClosed = false
  void (closing ?? pool.close()).then(() => {
    hasClosed = true
  })
  await trial.until(clock.now() + 5000, () => hasClosed)
  assert.ok(hasClosed, 'the pool has closed')
  await trial.until(Number.POSITIVE_INFINITY)
  assertAtRest(pool, trial, clock)
}

/** As many as the pool may have connections are served at once. */
async function everybodyIsServed(trial: Trial): Promise<void> {
  const { pool, clock } = trial
  // An open breaker, and an error that trying again does not mend, have their pauses.
  await trial.until(clock.now() + 20_000)
  const held: Connection[] = []
  const errors: unknown[] = []
  for (let count = 0; count < 2; count += 1)
    pool.acquire({ timeoutMillis: 20_000 }).then(
      connection => held.push(connection),
      error => errors.push(error),
    )
  await trial.until(clock.now() + 20_000, () => held.length + errors.length === 2)
  assert.deepEqual(errors, [])
  assert.equal(held.length, 2, 'both permits are free again')
  for (const connection of held) await pool.release(connection)
  await trial.until(clock.now() + 3000)
  const { slots } = partsOf(pool).context
  assert.ok(slots.open >= 1, 'min is kept')
  assert.equal(partsOf(pool).connector.breaker.isOpen, false, 'the breaker is closed')
}

describe('every hook × every behaviour × every way to leave', () => {
  for (const hook of HOOKS) {
    test(hook, async t => {
      for (const behaviour of BEHAVIOURS) {
        if (SYNCHRONOUS.has(hook) && behaviour === 'slow') continue
        for (const end of ENDS) await t.test(`${behaviour}, ${end}`, () => run(hook, behaviour, end))
      }
    })
  }
})
