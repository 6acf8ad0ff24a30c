import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { isPoolError, type PoolError, type PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { type Connection, ScriptedFactory } from '../support/factories.ts'
import { startFaultServer } from '../support/fault-server.ts'
import { rejection } from '../support/rejection.ts'

function setUp(
  error: unknown,
  options: PoolOptions = {},
  isPermanent?: (error: unknown) => boolean | string,
) {
  const clock = new FakeClock()
  const factory = new ScriptedFactory<Connection>(id => ({ id })) as ScriptedFactory & {
    isPermanent?: (error: unknown) => boolean | string
  }
  if (isPermanent !== undefined) factory.isPermanent = isPermanent
  factory.onCreate.always({ rejects: error })
  const pool = openPool(factory, { name: 'test', max: 5, ...options }, false, { clock, random: () => 0.5 })
  return { clock, factory, pool }
}

const withCode = (code: string, message = code): Error => Object.assign(new Error(message), { code })
const wrongPassword = new Error('WRONGPASS invalid username-password pair or user is disabled.')

const CASES: readonly (readonly [string, unknown, RegExp, ((error: unknown) => boolean | string)?])[] = [
  ['a TypeError of create', new TypeError('x is not a function'), /bug/],
  ['a ReferenceError of create', new ReferenceError('y is not defined'), /bug/],
  ['a certificate for another host', withCode('ERR_TLS_CERT_ALTNAME_INVALID'), /certificate/],
  ['a certificate that nobody vouches for', withCode('DEPTH_ZERO_SELF_SIGNED_CERT'), /certificate/],
  ['a certificate that has expired', withCode('CERT_HAS_EXPIRED'), /certificate/],
  [
    'a certificate, behind the error of a client',
    new Error('connect failed', { cause: withCode('UNABLE_TO_VERIFY_LEAF_SIGNATURE') }),
    /certificate/,
  ],
  [
    'a list of revoked certificates that cannot be read',
    withCode('UNABLE_TO_DECRYPT_CRL_SIGNATURE'),
    /certificate/,
  ],
  ['a wrong password of PostgreSQL', withCode('28P01', 'password authentication failed'), /password/],
  ['a user whom PostgreSQL does not let in', withCode('28000', 'no pg_hba.conf entry'), /from this host/],
  ['a database that PostgreSQL does not have', withCode('3D000', 'database "x" does not exist'), /database/],
  ['a wrong password of MySQL', withCode('ER_ACCESS_DENIED_ERROR'), /password/],
  ['a user of MySQL without a password', withCode('ER_ACCESS_DENIED_NO_PASSWORD_ERROR'), /password/],
  ['a database that MySQL keeps from this user', withCode('ER_DBACCESS_DENIED_ERROR'), /database/],
  [
    'a database that MySQL does not have, behind the error of a client',
    new Error('connect failed', { cause: withCode('ER_BAD_DB_ERROR') }),
    /database/,
  ],
  ['what the factory says', wrongPassword, /credentials/, error => error === wrongPassword],
  [
    'what the factory says, with its advice',
    wrongPassword,
    /Look at the password in REDIS_URL/,
    () => 'Look at the password in REDIS_URL',
  ],
]

for (const [name, error, advice, isPermanent] of CASES) {
  test(`${name} is told to everybody after the first failure, with advice that fits`, async () => {
    const { clock, pool, factory } = setUp(error, {}, isPermanent)
    const told: PoolError[] = []
    for (let caller = 0; caller < 5; caller += 1) pool.acquire().catch(each => told.push(each))
    await clock.advance(1)
    assert.equal(told.length, 5)
    for (const each of told) {
      assert.ok(isPoolError(each, 'POOL_CONNECT_FAILED'), each.code)
      assert.equal(each.cause, error)
      assert.match(each.message, advice)
      assert.doesNotMatch(each.message, /server is up/)
    }
    const later = await rejection(pool.acquire())
    assert.equal(later.code, 'POOL_CONNECT_FAILED')
    assert.equal(later.cause, error)
    assert.ok(factory.onCreate.calls <= 5)
    assert.equal(pool.stats().breaker, 'open')
  })
}

test('accounts are not locked: one try, another after a second, and no more than a handful in a minute', async () => {
  for (const min of [0, 3]) {
    const { clock, pool, factory } = setUp(wrongPassword, { min, maxConnecting: 1 }, () => true)
    let before = 0
    const asking = async (millis: number): Promise<number> => {
      for (let at = 0; at < millis; at += 20) {
        pool.acquire().catch(() => {})
        await clock.advance(20)
      }
      const since = factory.onCreate.calls - before
      before = factory.onCreate.calls
      return since
    }
    assert.equal(await asking(900), 1)
    const inFive = 1 + (await asking(4100))
    assert.ok(inFive >= 2 && inFive <= 3, `${inFive} logins in 5 s`)
    const inAMinute = inFive + (await asking(55_000))
    assert.ok(inAMinute >= 4 && inAMinute <= 7, `${inAMinute} logins in a minute`)
    const next = await asking(60_000)
    assert.ok(next >= 2 && next <= 6, `${next} logins in the next minute`)
  }
})

test('a password that is mended is found by the next try, and the next outage is an outage again', async () => {
  const { clock, pool, factory } = setUp(wrongPassword, {}, error => error === wrongPassword)
  await rejection(pool.acquire())
  factory.onCreate.always('ok')
  await clock.advance(2000)
  const connection = await pool.acquire()
  void pool.destroy(connection)
  await clock.advance(10)
  factory.onCreate.always({ rejects: withCode('ECONNREFUSED') })
  const waiting = pool.acquire()
  waiting.catch(() => {})
  await clock.advance(500)
  assert.equal(pool.pending, 1, 'it waits for the server')
  factory.onCreate.always('ok')
  await clock.advance(100)
  await waiting
})

test('the server comes back with another password: those who wait are told at once, too', async () => {
  const { clock, pool, factory } = setUp(withCode('ECONNREFUSED'), {}, error => error === wrongPassword)
  const waiting = rejection(pool.acquire())
  await clock.advance(1000)
  factory.onCreate.always({ rejects: wrongPassword })
  await clock.advance(100)
  assert.equal((await waiting).cause, wrongPassword)
})

test('while a connection from before still serves, nobody is told of the new password', async () => {
  const { clock, pool, factory } = setUp(wrongPassword, {}, () => true)
  factory.onCreate.next('ok')
  const held = await pool.acquire()
  const waiting = pool.acquire()
  await clock.advance(500)
  assert.equal(pool.pending, 1)
  void pool.release(held)
  assert.equal(await waiting, held)
})

test('who waits for min hears of it at once', async () => {
  const { clock, pool } = setUp(new TypeError('no such host'), { min: 2 })
  const ready = rejection(pool.ready())
  await clock.advance(10)
  const error = await ready
  assert.equal(error.code, 'POOL_CONNECT_FAILED')
  assert.ok(error.cause instanceof TypeError)
  assert.match(error.message, /bug/)
})

test('an answer of a database that may be another one in a moment is an outage: it starts up, or has too many clients', async () => {
  for (const code of ['57P03', '53300', 'ER_CON_COUNT_ERROR', 'ER_SERVER_SHUTDOWN']) {
    const { clock, pool, factory } = setUp(withCode(code))
    const waiting = pool.acquire()
    await clock.advance(500)
    assert.equal(pool.pending, 1, code)
    factory.onCreate.always('ok')
    await clock.advance(1000)
    await waiting
  }
})

test('a TypeError that only wraps an outage, as that of fetch, is an outage', async () => {
  const { clock, pool, factory } = setUp(new TypeError('fetch failed', { cause: withCode('ECONNREFUSED') }))
  const waiting = pool.acquire()
  await clock.advance(500)
  assert.equal(pool.pending, 1)
  factory.onCreate.always('ok')
  await clock.advance(100)
  await waiting
})

test('a classification that throws, or says nothing clear, is no classification', async () => {
  for (const isPermanent of [
    () => {
      throw new Error('from isPermanent')
    },
    () => undefined as unknown as boolean,
    () => '' as string,
  ]) {
    const { clock, pool, factory } = setUp(withCode('ECONNREFUSED'), {}, isPermanent)
    const waiting = pool.acquire()
    await clock.advance(500)
    assert.equal(pool.pending, 1)
    factory.onCreate.always('ok')
    await clock.advance(100)
    await waiting
    await settle()
  }
})

test('who comes while another try is under way waits for its result', async () => {
  const { clock, pool, factory } = setUp(wrongPassword, {}, () => true)
  await rejection(pool.acquire())
  await clock.advance(1500)
  factory.onCreate.next('held')
  const asked = [pool.acquire(), pool.acquire()]
  const dial = await factory.onCreate.call()
  await clock.advance(10)
  assert.equal(pool.pending, 2)
  dial.ok()
  const first = await asked[0]
  assert.ok(first)
})

test('a real server with a certificate that nobody vouches for is dialled twice at the most, and everybody told', async () => {
  const server = await startFaultServer({ tls: {} })
  const pool = createSocketPool({ host: server.host, port: server.port, tls: true }, { max: 5 })
  const errors = await Promise.all(Array.from({ length: 5 }, () => rejection(pool.acquire())))
  for (const error of errors) {
    assert.equal(error.code, 'POOL_CONNECT_FAILED')
    assert.match(error.message, /certificate/)
  }
  assert.ok(server.connections() <= 2, `${server.connections()} connections`)
  await pool.close()
  await server.stop()
})
