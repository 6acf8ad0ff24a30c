import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import type { Factory } from '../../src/api/factory.ts'
import { Slot } from '../../src/connections/slot.ts'
import { createPool, isPoolError, type Pool, type PoolError, type PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeSocket } from '../model/scripted-server.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { type Connection, ScriptedFactory, scripted } from '../support/factories.ts'
import { insidesOf } from '../support/insides.ts'
import { rejection } from '../support/rejection.ts'

const refused = (): Error => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })

function onFakeTime(options: PoolOptions, factory = new ScriptedFactory<Connection>(id => ({ id }))) {
  const clock = new FakeClock()
  const pool = openPool(factory, { name: 'test', ...options }, false, { clock, random: () => 0.5 })
  return { clock, pool, factory }
}

test('a server that is down neither blocks the loop nor is hammered, and every caller learns why', async () => {
  const { clock, pool, factory } = onFakeTime({ max: 20, acquireTimeoutMillis: 500 })
  factory.onCreate.always({ rejects: refused() })
  let settled = 0
  const outcomes = Promise.allSettled(
    Array.from({ length: 20 }, () =>
      pool.acquire().finally(() => {
        settled += 1
      }),
    ),
  )
  await clock.advance(499)
  assert.equal(settled, 0)
  // Each returned to the loop: a pool that tried again at once would not have let the clock advance.
  const creates = factory.onCreate.calls
  assert.ok(creates >= 9 && creates <= 11, `${creates} creates in half a second, one each 50 ms`)
  await clock.advance(1)
  assert.equal(settled, 20)
  for (const outcome of await outcomes) {
    assert.equal(outcome.status, 'rejected')
    const error = outcome.reason as PoolError
    assert.ok(isPoolError(error, 'POOL_ACQUIRE_TIMEOUT'))
    assert.equal(error.name, 'TimeoutError')
    assert.equal(error.phase, 'connect')
    assert.equal((error.cause as { code: string }).code, 'ECONNREFUSED')
  }
  await pool.close()
})

test('an open breaker tells the real error at once, and one probe a second finds the server again', async () => {
  const { clock, pool, factory } = onFakeTime({
    max: 3,
    acquireTimeoutMillis: 200,
    unhealthyAfterMillis: 150,
  })
  const breaker: string[] = []
  pool.on('breaker', event => breaker.push(event.state))
  factory.onCreate.always({ rejects: refused() })
  const first = Promise.allSettled([pool.acquire(), pool.acquire(), pool.acquire()])
  await clock.advance(5000)
  assert.ok((await first).every(({ status }) => status === 'rejected'))
  const before = factory.onCreate.calls
  await clock.advance(5000)
  assert.equal(factory.onCreate.calls, before, 'nobody asks, nobody dials')

  const probe = pool.acquire()
  probe.catch(() => {})
  await settle()
  assert.equal(factory.onCreate.calls, before + 1, 'the first one to ask is the probe')
  const error = await rejection(pool.acquire())
  assert.equal(error.code, 'POOL_UNHEALTHY')
  assert.equal((error.cause as Error).message, 'connect ECONNREFUSED')
  assert.match(error.message, /ECONNREFUSED/)
  assert.equal(pool.stats().breaker, 'open')

  let calls = factory.onCreate.calls
  for (let second = 0; second < 5; second += 1) {
    pool.acquire({ timeoutMillis: 990 }).catch(() => {})
    await clock.advance(1000)
    assert.ok(factory.onCreate.calls - calls <= 2, `${factory.onCreate.calls - calls} probes in a second`)
    calls = factory.onCreate.calls
  }
  factory.onCreate.always('ok')
  await clock.advance(1000)
  assert.ok(await pool.acquire())
  assert.deepEqual(breaker, ['open', 'closed'])
})

/** A pool whose breaker has opened, and for which nobody waits any more. */
async function inOutage(options: PoolOptions) {
  const set = onFakeTime({ unhealthyAfterMillis: 0, ...options })
  set.factory.onCreate.always({ rejects: refused() })
  const asked = Promise.allSettled(
    Array.from({ length: options.max ?? 1 }, () => set.pool.acquire({ timeoutMillis: 50 })),
  )
  await set.clock.advance(5000)
  await asked
  assert.equal(set.pool.stats().breaker, 'open')
  return set
}

test('who comes while the breaker is open does not wait for ever on a probe that has failed', async () => {
  const { clock, pool, factory } = await inOutage({ max: 3, priorityRange: 2 })
  for (let request = 0; request < 5; request += 1) {
    const error = await rejection(pool.acquire(request % 2))
    assert.equal(error.code, 'POOL_UNHEALTHY')
    assert.equal((error.cause as { code: string }).code, 'ECONNREFUSED')
    await clock.advance(1200)
  }
  factory.onCreate.next('hangs')
  const error = rejection(pool.acquire({ timeoutMillis: 60_000 }))
  await settle()
  const another = rejection(pool.acquire())
  await settle()
  assert.equal(pool.pending, 2, 'a probe is under way, and may find the server')
  await clock.advance(500)
  assert.equal((await error).code, 'POOL_UNHEALTHY')
  assert.match(((await error).cause as Error).message, /has been in progress for 500 ms/)
  assert.equal((await another).code, 'POOL_UNHEALTHY')
  assert.equal((await rejection(pool.acquire())).code, 'POOL_UNHEALTHY', 'the probe hangs')
  await clock.advance(6000)
  factory.onCreate.always('ok')
  assert.ok(await pool.acquire(), 'a probe that succeeds serves whom it was made for')
})

test('many who hope for one probe are all told, an aborted one only of its abort, and min does not hide it', async () => {
  const { clock, pool, factory } = onFakeTime({ min: 1, max: 2, destroyTimeoutMillis: 100 })
  const held = await pool.acquire()
  factory.onCreate.always({ rejects: refused() })
  const early = rejection(pool.acquire({ timeoutMillis: 20_000 }))
  await clock.advance(4000)
  assert.equal(pool.stats().breaker, 'open')
  const caller = new AbortController()
  const aborted = rejection(pool.acquire({ signal: caller.signal }))
  const hopeful = Array.from({ length: 20 }, () => rejection(pool.acquire()))
  await clock.advance(900)
  assert.equal(pool.pending, 22, 'the connection that works may come back')
  pool.destroy(held)
  caller.abort()
  await clock.advance(1000)
  assert.equal((await aborted).code, 'POOL_ABORTED')
  for (const each of hopeful) assert.equal((await each).code, 'POOL_UNHEALTHY')
  assert.equal(pool.pending, 1, 'who had been waiting as it opened waits on')
  await clock.advance(20_000)
  assert.equal((await early).code, 'POOL_ACQUIRE_TIMEOUT')
})

test('an open breaker finds a server again that was away for a moment, and later probes once a second', async () => {
  const { clock, pool, factory } = onFakeTime({
    max: 1,
    acquireTimeoutMillis: 60_000,
    unhealthyAfterMillis: 100,
  })
  factory.onCreate.always({ rejects: refused() })
  const probes: number[] = []
  pool.on('factoryCreateError', () => probes.push(clock.now()))
  pool.acquire().catch(() => {})
  await clock.advance(9000)
  const pauses = probes.slice(1).map((at, index) => at - (probes[index] as number))
  assert.ok(pauses.slice(0, 3).every(pause => pause < 60))
  assert.deepEqual(new Set(pauses.slice(-5)), new Set([750]))
})

test('a server that takes connections and answers nothing well is not hammered, and every caller learns why', async () => {
  for (const behaviour of ['hangs', { gives: false }, { throws: new Error('LOADING') }] as const) {
    const options = { max: 4, testOnBorrow: true, acquireTimeoutMillis: 3000, validateTimeoutMillis: 1000 }
    const { clock, pool, factory } = onFakeTime(options, scripted('validate'))
    const breaker: string[] = []
    pool.on('breaker', event => breaker.push(event.state))
    factory.onValidate.always(behaviour)
    const told = new Map<string, number>()
    for (let request = 0; request < 500; request += 1) {
      const served = pool.acquire().then(connection => pool.release(connection))
      served.catch((error: PoolError) => {
        told.set(error.code, (told.get(error.code) ?? 0) + 1)
        if (error.cause !== undefined) assert.match(String(error.cause), /ended before it was lent/)
      })
      await clock.advance(20)
    }
    assert.deepEqual(breaker, ['open'])
    const dials = factory.onCreate.calls
    assert.ok(
      dials < options.max + 30,
      `${dials} dials in ten seconds, of which ${options.max} may open the breaker`,
    )
    assert.ok((told.get('POOL_UNHEALTHY') ?? 0) > 250, `${[...told]}`)
    factory.onValidate.always('ok')
    await clock.advance(4000)
    pool.release(await pool.acquire())
    assert.deepEqual(breaker, ['open', 'closed'])
    assert.equal(pool.stats().createFailures, 0)
  }
})

test('connections that work do not speak for new ones that die at once', async () => {
  const clock = new FakeClock()
  let dials = 0
  const factory: Factory<FakeSocket> = {
    create: () => {
      dials += 1
      const socket = new FakeSocket()
      // The server is at its limit from the second on: it hangs up on whoever comes.
      socket.destroyed = dials > 1
      return socket
    },
    destroy: () => {},
    socket: socket => socket as unknown as Socket,
  }
  const pool = openPool(factory, { max: 3, min: 2 }, false, { clock, random: () => 0.5 })
  for (let request = 0; request < 1000; request += 1) {
    pool.release(await pool.acquire())
    await clock.advance(10)
  }
  assert.ok(dials < 40, `${dials} dials in ten seconds`)
  assert.equal(pool.stats().breaker, 'open')
})

/** Has the pool believe that a connection, made at that time, died at once. */
function dieEarly<T>(pool: Pool<T>, at: number): void {
  const slot = Object.assign(new Slot<T>(0, 0, at), { createdAt: at })
  insidesOf(pool).connector.breaker.diedEarly({ error: refused(), kind: 'turned-away' }, slot, at)
}

test('after one that died at once a connection that lives is trusted, though it is lent for good', async () => {
  const { clock, pool, factory } = onFakeTime({ max: 9, testOnBorrow: false }, scripted('validate'))
  dieEarly(pool, clock.now())
  await clock.advance(1000)
  assert.ok(await pool.acquire())
  factory.onCreate.always('held')
  for (let asked = 0; asked < 8; asked += 1) pool.acquire().catch(() => {})
  await settle()
  assert.equal(pool.stats().connecting, 0, 'it may die as well')
  await clock.advance(1000)
  assert.equal(pool.stats().connecting, 4)
})

test('a large pool does not take a server whose connections never answer for one that is quick', async () => {
  const { clock, pool, factory } = onFakeTime(
    { max: 500, testOnBorrow: true, acquireTimeoutMillis: 5000, validateTimeoutMillis: 200 },
    scripted('validate'),
  )
  factory.onValidate.always('hangs')
  for (let wave = 0; wave < 100; wave += 1) {
    for (let request = 0; request < 20; request += 1) pool.acquire().catch(() => {})
    await clock.advance(100)
  }
  const dials = factory.onCreate.calls
  assert.ok(dials < 100, `${dials} dials in ten seconds`)
})

test('trust comes back after one that died at once: with a loan that its borrower ended, or with a second of life', async () => {
  for (const how of ['a loan that is destroyed', 'a second of life'] as const) {
    const { clock, pool } = onFakeTime({
      max: 1,
      min: how === 'a second of life' ? 1 : 0,
      unhealthyAfterMillis: 0,
    })
    const { connector } = insidesOf(pool)
    dieEarly(pool, clock.now() - 1)
    assert.equal(pool.stats().breaker, 'open')
    await clock.advance(60)
    if (how === 'a loan that is destroyed') await pool.destroy(await pool.acquire())
    else await clock.advance(1000)
    assert.equal(pool.stats().breaker, 'closed', how)
    assert.equal(connector.breaker.unproven, false)
    await pool.close()
    assert.equal(clock.pending, 0, clock.describe())
  }
})

test('a hook that a return sets off finds the connection with whom it has gone to', async () => {
  const { clock, pool, factory } = onFakeTime({ max: 3 }, scripted('validate'))
  const first = await pool.acquire()
  await clock.advance(1)
  dieEarly(pool, clock.now() - 2)
  const waiting = [pool.acquire(), pool.acquire()]
  const seen: boolean[] = []
  const create = factory.create.bind(factory)
  factory.create = signal => {
    seen.push(pool.isBorrowedResource(first))
    return create(signal)
  }
  pool.release(first)
  await clock.advance(2000)
  const got = await Promise.all(waiting)
  assert.equal(got[0], first)
  assert.notEqual(got[1], first)
  assert.deepEqual(seen, [true], 'it was lent to the next one by then, and one more was enough')
})

test('a breaker that has opened closes again, and says so, also when the pool has grown meanwhile', async () => {
  const { clock, pool, factory } = await inOutage({ max: 2 })
  const breaker: string[] = []
  pool.on('breaker', event => breaker.push(event.state))
  pool.resize({ max: 20 })
  assert.equal(pool.stats().breaker, 'open')
  factory.onCreate.always('ok')
  await clock.advance(1000)
  pool.release(await pool.acquire())
  assert.equal(pool.stats().breaker, 'closed')
  assert.deepEqual(breaker, ['closed'])
})

test('callers are not refused by an open breaker while connections that work may come back', async () => {
  const { clock, pool, factory } = onFakeTime({ max: 2, unhealthyAfterMillis: 50 })
  factory.onCreate.next('ok').always({ rejects: refused() })
  const held = await pool.acquire()
  const waiting = pool.acquire()
  await clock.advance(100)
  assert.equal(pool.stats().breaker, 'open')
  const another = pool.acquire()
  pool.release(held)
  assert.equal(await waiting, held)
  pool.release(held)
  assert.equal(await another, held)
})

test('a connection that arrives after its deadline is destroyed, and its error says what to do', async () => {
  const { clock, pool, factory } = onFakeTime({ createTimeoutMillis: 100, acquireTimeoutMillis: 150 })
  factory.onCreate.next('held', { rejects: refused() })
  const errors: unknown[] = []
  pool.on('factoryCreateError', error => errors.push(error))
  const asked = pool.acquire().catch(error => error)
  const late = await factory.onCreate.call()
  await clock.advance(100)
  assert.ok(late.signal?.aborted, 'the hook is told')
  assert.ok(isPoolError(errors[0], 'POOL_CONNECT_FAILED'))
  assert.match((errors[0] as Error).message, /createTimeoutMillis/)
  late.ok()
  await clock.advance(1000)
  await asked
  assert.equal(factory.ledger.created.length, factory.ledger.destroyed.length + pool.size)
  assert.equal(factory.ledger.strayDestroys, 0)
})

test('a dial whose demand has gone is not started', async () => {
  const { clock, pool, factory } = onFakeTime({ max: 5 })
  factory.onCreate.next({ rejects: refused() }).always('ok')
  const caller = new AbortController()
  const asked = pool.acquire({ signal: caller.signal }).catch(error => error.code)
  await settle()
  assert.equal(factory.onCreate.calls, 1)
  caller.abort()
  assert.equal(await asked, 'POOL_ABORTED')
  await clock.advance(60_000)
  assert.equal(factory.onCreate.calls, 1, 'the retry found nobody waiting')
})

test('callers wait on the pool, not on a dial: a connection that comes back serves the first in the queue', async () => {
  const { pool, factory } = onFakeTime({ max: 2 })
  const first = await pool.acquire()
  factory.onCreate.next('held')
  const second = pool.acquire()
  const dial = await factory.onCreate.call()
  pool.release(first)
  assert.equal(await second, first)
  dial.ok()
  await settle()
  assert.equal(pool.available, 1, 'the dial went on and is idle')
})

test('one hung dial does not hold up those who come after it', async () => {
  const { clock, pool, factory } = onFakeTime({
    max: 3,
    acquireTimeoutMillis: 100,
    createTimeoutMillis: 60_000,
  })
  factory.onCreate.next('hangs')
  const unlucky = pool.acquire().catch(error => error.phase)
  await clock.advance(100)
  assert.equal(await unlucky, 'connect')
  for (let asked = 0; asked < 10; asked += 1) pool.release(await pool.acquire())
  assert.equal(factory.onCreate.calls, 2)
})

test('sockets never exceed max, those that are still closing included', async () => {
  const { clock, pool, factory } = onFakeTime({ max: 2, destroyTimeoutMillis: 500 })
  factory.onDestroy.next('held', 'hangs')
  const [a, b] = [await pool.acquire(), await pool.acquire()]
  pool.destroy(a)
  pool.destroy(b)
  const waiting = [pool.acquire(), pool.acquire()]
  await settle()
  assert.equal(factory.onCreate.calls, 2, 'no permit is free before a close has ended')
  assert.equal(pool.size, 0)
  assert.equal(pool.stats().closing, 2)
  assert.equal(pool.spareResourceCapacity, 0)
  ;(await factory.onDestroy.call()).ok()
  assert.ok(await waiting[0])
  const failed: unknown[] = []
  pool.on('factoryDestroyError', error => failed.push(error))
  await clock.advance(500)
  assert.ok(await waiting[1], 'a close that hangs gives its permit back at its deadline')
  assert.match((failed[0] as Error).message, /destroy timed out/)
})

test('min is restored after failures although nobody acquires', async () => {
  const { clock, pool, factory } = onFakeTime({ min: 2, max: 2 })
  await settle()
  assert.equal(pool.available, 2)
  factory.onCreate.next({ rejects: refused() }, { throws: refused() }, { rejects: refused() })
  const lent = await pool.acquire()
  pool.destroy(lent)
  await clock.advance(2000)
  assert.equal(pool.available, 2)
})

test('hooks and listeners run outside the context of the request that caused them', async () => {
  const requests = new AsyncLocalStorage<string>()
  const seen: (string | undefined)[] = []
  const look = (): void => void seen.push(requests.getStore())
  const factory: Factory<object> = {
    create: async () => {
      look()
      return {}
    },
    validate: async () => {
      look()
      return true
    },
    reset: look,
    destroy: look,
    busy: () => false,
  }
  const pool = createPool(factory, {
    max: 1,
    testOnBorrow: true,
    testOnReturn: true,
    acquireTimeoutMillis: 500,
  })
  for (const event of ['connect', 'acquire', 'release', 'destroy'] as const) pool.on(event, look)
  await requests.run('request', async () => {
    const resource = await pool.acquire()
    assert.equal(requests.getStore(), 'request', "the caller's own context is untouched")
    const waiting = requests.run('another request', () =>
      pool.acquire().then(got => {
        assert.equal(requests.getStore(), 'another request')
        return got
      }),
    )
    await pool.release(resource)
    await pool.destroy(await waiting)
  })
  await pool.close()
  assert.ok(seen.length >= 10, `${seen.length} calls`)
  assert.deepEqual(new Set(seen), new Set([undefined]))
})

test('a resource that the factory gives twice is refused, and the first borrower keeps it', async () => {
  const one = { id: 1 }
  const destroyed: unknown[] = []
  const pool = createPool(
    { create: async () => one, destroy: resource => void destroyed.push(resource) },
    { max: 2, acquireTimeoutMillis: 60 },
  )
  const held = await pool.acquire()
  const error = await rejection(pool.acquire())
  assert.match((error.cause as Error).message, /already holds/)
  assert.deepEqual(destroyed, [])
  assert.ok(pool.isBorrowedResource(held))
  await pool.release(held)
  await pool.close()
  assert.deepEqual(destroyed, [one])
})

test('a server that accepts and hangs up is not dialled as fast as it answers', async () => {
  const clock = new FakeClock()
  let creates = 0
  const factory: Factory<FakeSocket> = {
    create: () => {
      creates += 1
      const socket = new FakeSocket()
      clock.after(1, () => {
        socket.destroy()
        socket.emit('close')
      })
      return socket
    },
    destroy: () => {},
    socket: socket => socket as unknown as Socket,
  }
  const pool = openPool(factory, { min: 4, max: 4 }, false, { clock, random: () => 0.5 })
  await clock.advance(10_000)
  assert.ok(creates < 120, `${creates} dials in ten seconds`)
  assert.ok(creates > 8, `${creates} dials: it must keep trying`)
  assert.equal(pool.stats().totals.destroyed, creates - pool.size)
})

test('a listener that throws, rejects, or calls back into the pool harms nobody', async () => {
  const warnings: string[] = []
  const onWarning = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', onWarning)
  const pool = createPool({ create: async () => ({}), destroy: () => {} }, { max: 1 })
  pool.on('connect', () => {
    throw new Error('from a listener')
  })
  pool.on('acquire', async () => {
    throw new Error('from an async listener')
  })
  pool.once('release', () => {
    pool.acquire().then(resource => pool.release(resource))
  })
  for (let round = 0; round < 3; round += 1) await pool.use(() => {})
  await pool.close()
  await settle()
  process.off('warning', onWarning)
  assert.equal(warnings.filter(message => message.includes('listener')).length, 2, warnings.join('\n'))
  assert.ok(pool instanceof EventEmitter)
})

test('a connection whose preparation throws, hangs or is called off is closed, and counts as a failed create', async () => {
  const clock = new FakeClock()
  const factory = scripted()
  const ways: (() => void | Promise<void>)[] = [
    () => {
      throw new Error('init hook threw')
    },
    () => Promise.reject(new Error('init hook rejected')),
    () => new Promise<never>(() => {}),
    () => {},
  ]
  const errors: string[] = []
  const hooks: Factory<Connection> = {
    create: () => factory.create(),
    prepare: () => ways.shift()?.(),
    destroy: resource => factory.destroy(resource),
  }
  const options = { max: 4, createTimeoutMillis: 100, acquireTimeoutMillis: 1000 }
  const pool = openPool(hooks, options, false, { clock, random: () => 0.5 })
  pool.on('factoryCreateError', error => errors.push((error as Error).message))
  const asked = pool.acquire()
  await clock.advance(500)
  assert.equal((await asked).id, 3)
  assert.equal(factory.ledger.open.size, 1, 'the three before it are closed')
  assert.equal(factory.ledger.strayDestroys, 0)
  assert.match(errors.join('\n'), /threw\n.*rejected\n.*longer than 100 ms/)
})
