/*
 * For the tests of outages: a pool on an injected clock that counts its dials, callers that note what became of them.
 */

import type { Pool, PoolError, PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeSocket } from '../model/scripted-server.ts'
import { FakeClock } from '../support/clock.ts'
import { type Connection, ScriptedFactory } from '../support/factories.ts'
import { Chance } from '../support/random.ts'

export const refused = (): Error => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })

/** A pool on an injected clock, the times of its dials, and how many of them were under way at once. */
export function setUp(
  options: PoolOptions,
  random: () => number = new Chance(3).next,
  factory: ScriptedFactory = new ScriptedFactory<Connection>(id => ({ id })),
) {
  const clock = new FakeClock()
  const dials: number[] = []
  const inFlight = { now: 0, most: 0 }
  const create = factory.create.bind(factory)
  factory.create = signal => {
    dials.push(clock.now())
    inFlight.now += 1
    inFlight.most = Math.max(inFlight.most, inFlight.now)
    return Promise.resolve(create(signal)).finally(() => {
      inFlight.now -= 1
    })
  }
  const pool = openPool(factory, { name: 'test', ...options }, false, { clock, random })
  const since = (at: number): number[] => dials.filter(dial => dial >= at)
  return { clock, pool, factory, dials, since, inFlight }
}

export interface Told {
  readonly cameAt: number
  readonly at: number
  readonly error: PoolError | undefined
}

/** One caller that holds its connection for a moment, and what became of it. */
export function call(pool: Pool<Connection>, clock: FakeClock, told: Told[], holdMillis = 1): void {
  const cameAt = clock.now()
  pool.acquire().then(
    connection => {
      told.push({ cameAt, at: clock.now(), error: undefined })
      clock.after(holdMillis, () => void pool.release(connection))
    },
    (error: PoolError) => told.push({ cameAt, at: clock.now(), error }),
  )
}

export interface Wired extends Connection {
  readonly socket: FakeSocket & { bytesRead: number; bytesWritten: number }
}

/** A socket that counts its bytes, as the tests tell it to. */
export const wire = () => Object.assign(new FakeSocket(), { bytesRead: 0, bytesWritten: 0 })

/** The same with a socket under each connection, by which it is known which of them are dead. */
export function setUpWired(options: PoolOptions, ...hooks: readonly ('validate' | 'reset')[]) {
  const factory = new ScriptedFactory<Connection>(id => ({ id, socket: wire() }) as Wired, ...hooks)
  const socket = (connection: Connection): never => (connection as Wired).socket as never
  return setUp(options, undefined, Object.assign(factory, { socket }))
}

/** The server ends a connection. */
export function hangUp(connection: Connection): void {
  const { socket } = connection as Wired
  socket.readable = false
  socket.readableEnded = true
  socket.emit('end')
}

export type World = ReturnType<typeof setUpWired>
