import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { CredentialSource } from '../../../src/adapters/ioredis/client/credentials.ts'
import type { RedisPoolOptions } from '../../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../../src/api/errors.ts'
import { eventually } from '../../support/factories.ts'
import { withRedis } from '../../support/redis.ts'
import { bulk, handshake, startFakeRedis, withFake } from './fake-redis.ts'
import { startFakeSentinel } from './fake-sentinel.ts'
import { madeHere, poolOf, rejection, versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

type Ask = NonNullable<RedisPoolOptions['credentials']>

/** Runs with a user of its own, and a client that administers the server. */
async function withUser(run: (user: string, admin: Redis) => Promise<void>): Promise<void> {
  const admin = new Redis(redis.server.port)
  const user = redis.key('user').replaceAll(':', '-')
  try {
    await admin.call('ACL', 'SETUSER', user, 'on', '>first', '~*', '+@all')
    await run(user, admin)
  } finally {
    await admin.call('ACL', 'DELUSER', user)
    admin.disconnect()
  }
}

for (const { name, Client } of versions) {
  describe(`${name}: credentials that change`, { skip }, () => {
    test('connections that are made at the same time share one answer; later ones ask again', async () => {
      await withUser(async username => {
        let asked = 0
        let answer = (): void => {}
        const held = new Promise<void>(resolve => {
          answer = resolve
        })
        const credentials: Ask = async () => {
          asked += 1
          await held
          return { username, password: 'first' }
        }
        const pool = poolOf(Client, { port: redis.server.port }, { max: 5, maxConnecting: 5, credentials })
        const acquires = Promise.all([1, 2].map(() => pool.acquire()))
        await eventually(() => pool.stats().connecting === 2)
        answer()
        const lent = await acquires
        assert.equal(asked, 1)
        assert.equal(await lent[0]?.call('ACL', 'WHOAMI'), username)
        await pool.acquire().then(client => pool.release(client))
        assert.equal(asked, 2)
        await Promise.all(lent.map(client => pool.release(client)))
        await pool.close()
      })
    })

    test('a password that changes all the time fails no loan, also when the old one was given last', async () => {
      await withUser(async (username, admin) => {
        let current = 'first'
        let given = 0
        // The first answer after a change is out of date.
        let previous: string | undefined
        const credentials: Ask = async () => {
          given += 1
          const password = previous ?? current
          previous = undefined
          return { username, password }
        }
        const pool = poolOf(Client, { port: redis.server.port }, { max: 4, credentials })
        let isOver = false
        let served = 0
        const worker = async (): Promise<void> => {
          while (!isOver) {
            await pool.use(client => client.get('x'))
            served += 1
          }
        }
        const workers = Promise.all([1, 2, 3, 4, 5, 6].map(worker))
        try {
          for (let change = 1; change <= 25; change += 1) {
            // One that is being made is refused once: by the second change that it meets it would be for good.
            await eventually(() => pool.stats().connecting === 0)
            previous = current
            current = `password-${change}`
            await admin.call('ACL', 'SETUSER', username, 'resetpass', `>${current}`)
            pool.purge('the password has changed')
            const before = served
            await eventually(() => served >= before + 10)
          }
        } finally {
          isOver = true
        }
        await workers
        assert.ok(given > 25, `${given} answers`)
        await pool.close()
      })
    })

    test('what is refused is not tried again unchanged, and is told at once; the next connection asks anew', async () => {
      await withUser(async username => {
        let asked = 0
        let password = 'wrong'
        const credentials: Ask = () => {
          asked += 1
          return { username, password }
        }
        const pool = poolOf(Client, { port: redis.server.port }, { credentials })
        const error = await rejection(pool.acquire())
        assert.ok(isPoolError(error, 'POOL_CONNECT_FAILED'))
        assert.match(String(error.cause), /WRONGPASS/)
        assert.equal(asked, 2)
        password = 'first'
        await eventually(() => pool.use(client => client.ping()).then(Boolean, () => false), {
          within: 10_000,
        })
        assert.equal(asked, 3)
        await pool.close()
      })
    })

    test('a duplicate of a lent client has the credentials, too', async () => {
      await withUser(async username => {
        const pool = poolOf(
          Client,
          { port: redis.server.port },
          { credentials: () => ({ username, password: 'first' }) },
        )
        const twin = await pool.use(async client => (client as { duplicate(): Redis }).duplicate())
        assert.equal(await twin.call('ACL', 'WHOAMI'), username)
        twin.disconnect()
        await pool.close()
      })
    })

    test('a function that makes the client gets them', async () => {
      await withUser(async username => {
        const make = ((given: { username?: string; password: string }) =>
          new Client({ port: redis.server.port, lazyConnect: true, ...given })) as () => Redis
        const pool = poolOf(Client, make, { credentials: () => ({ username, password: 'first' }) })
        assert.equal(await pool.use(client => client.call('ACL', 'WHOAMI')), username)
        await pool.close()
      })
    })

    test('connections retire before their token ends, and are replaced without an error', async () => {
      await withUser(async username => {
        let tokens = 0
        const reasons = new Set<string>()
        const credentials: Ask = () => {
          tokens += 1
          return { username, password: 'first', expiresAt: new Date(Date.now() + 1500) }
        }
        const pool = poolOf(Client, { port: redis.server.port }, { max: 2, credentials })
        pool.on('destroy', ({ reason }) => reasons.add(reason))
        await eventually(
          async () => {
            await pool.use(client => client.ping())
            return tokens >= 2
          },
          { within: 20_000 },
        )
        assert.deepEqual([...reasons], ['lifetime'])
        await pool.close()
      })
    })
  })

  describe(`${name}: a function for credentials that misbehaves`, () => {
    const dead = { port: 1, host: '127.0.0.1' }

    test('is bounded by the deadline of the create, and its signal is aborted', async () => {
      const signals: AbortSignal[] = []
      const credentials: Ask = signal => {
        signals.push(signal)
        return new Promise(() => {})
      }
      const pool = poolOf(Client, dead, { credentials, createTimeoutMillis: 50, acquireTimeoutMillis: 400 })
      const error = await rejection(pool.acquire())
      assert.match(`${error.message} ${inner(error)}`, /credentials was asked/)
      await eventually(() => signals.length > 0 && signals.every(signal => signal.aborted))
      await pool.close()
    })

    test('goes on for others when one of those that wait for it gives up', async () => {
      const signals: AbortSignal[] = []
      let answer: (given: { password: string }) => void = () => {}
      const credentials: Ask = signal => {
        signals.push(signal)
        return new Promise(resolve => {
          answer = resolve
        })
      }
      await withFake(
        ([command = '', ...args]) => (command === 'GET' ? bulk('value') : handshake([command, ...args])),
        async ({ port }) => {
          const pool = poolOf(Client, { port }, { credentials })
          const abort = new AbortController()
          const gone = rejection(pool.acquire({ signal: abort.signal }))
          const stays = pool.use(client => client.get('x'))
          await eventually(() => signals.length === 1)
          abort.abort()
          assert.equal((await gone).code, 'POOL_ABORTED')
          answer({ password: 'secret' })
          assert.equal(await stays, 'value')
          assert.equal(signals[0]?.aborted, false)
          await pool.close()
        },
      )
    })

    test('that throws is the cause, and one that gives something else is refused by name', async () => {
      const failing = poolOf(Client, dead, {
        acquireTimeoutMillis: 100,
        credentials: () => {
          throw new Error('no token today')
        },
      })
      assert.match(inner(await rejection(failing.acquire())), /no token today/)
      await failing.close()
      for (const [given, message] of [
        [undefined, /credentials must give \{ username\?, password, expiresAt\? \}, got undefined/],
        ['secret-token', /expiresAt\? \}, got a string/],
        [123_456, /expiresAt\? \}, got a number/],
        [{ password: '' }, /must give a password/],
        [{ password: 'x', username: 5, expiresAt: 'soon' }, /username as a text.*expiresAt as a date/s],
      ] as const) {
        const pool = poolOf(Client, dead, { credentials: (() => given) as unknown as Ask })
        const error = await rejection(pool.acquire())
        assert.match(inner(error), message)
        assert.doesNotMatch(inner(error), /secret-token|123_?456/)
        await pool.close()
      }
    })

    test('and a password of its own exclude each other; what is no function is refused', {
      skip: !madeHere.some(made => made.Client === Client) && 'its clients are made by a function',
    }, () => {
      const credentials: Ask = () => ({ password: 'x' })
      for (const redisOptions of [{ ...dead, password: 'own' }, 'redis://:own@127.0.0.1:1']) {
        assert.throws(() => poolOf(Client, redisOptions, { credentials }), /password and credentials exclude/)
      }
      assert.throws(
        () => poolOf(Client, dead, { credentials: 'secret' as unknown as Ask }),
        (error: Error) =>
          /credentials must be a function/.test(error.message) && !/secret/.test(error.message),
      )
    })

    test('serves the primary that sentinels name', async () => {
      const heard: string[][] = []
      const primary = await startFakeRedis(command => {
        if (/AUTH|HELLO/i.test(command[0] ?? '')) heard.push([...command])
        return handshake(command)
      })
      const sentinel = await startFakeSentinel('main', { host: '127.0.0.1', port: primary.port, epoch: 0 })
      const pool = poolOf(
        Client,
        { sentinels: [sentinel.endpoint], name: 'main' },
        { credentials: () => ({ username: 'app', password: 'token-7' }) },
      )
      try {
        await pool.use(client => client.ping())
        assert.ok(
          heard.some(command => command.includes('app') && command.includes('token-7')),
          JSON.stringify(heard),
        )
      } finally {
        await pool.close()
        await sentinel.stop()
        await primary.stop()
      }
    })
  })
}

describe('one source for the connections to several servers', () => {
  const wrong = Object.assign(new Error('WRONGPASS invalid username-password pair'), { name: 'ReplyError' })
  const { signal } = new AbortController()

  /** Connects to servers that take one password, and refuse others as soon as they are told to. */
  async function connecting(answers: readonly string[], connections: number) {
    let calls = 0
    const answered: (() => void)[] = []
    const source = new CredentialSource(async () => {
      const password = answers[calls] ?? 'none'
      calls += 1
      await new Promise<void>(resolve => answered.push(resolve))
      return { password }
    }, 60_000)
    const refusals: (() => void)[] = []
    const connect = (): Promise<string> =>
      source.open(signal, async ({ password }) => {
        if (password === 'new') return password
        await new Promise<void>(resolve => refusals.push(resolve))
        throw wrong
      })
    const outcomes = Promise.allSettled(Array.from({ length: connections }, connect))
    const next = async (call: number): Promise<void> => {
      await eventually(() => answered.length >= call)
      answered[call - 1]?.()
    }
    const refuse = async (count: number): Promise<void> => {
      await eventually(() => refusals.length >= count)
      refusals[count - 1]?.()
    }
    return { outcomes, connect, next, refuse, calls: () => calls }
  }
  const served = [1, 2].map(() => ({ status: 'fulfilled', value: 'new' }))

  test('both refuse the same answer, one a little later: the function is called once more for both', async () => {
    const { outcomes, next, refuse, calls } = await connecting(['old', 'new'], 2)
    await next(1)
    await refuse(1)
    await eventually(() => calls() === 2)
    await refuse(2)
    await Promise.resolve()
    await next(2)
    assert.deepEqual(await outcomes, served)
    assert.equal(calls(), 2)
  })

  test('where that call says the same again, the one refused later asks anew, as it may have changed since', async () => {
    const { outcomes, next, refuse, calls } = await connecting(['old', 'old', 'new'], 2)
    await next(1)
    await refuse(1)
    await eventually(() => calls() === 2)
    await refuse(2)
    await Promise.resolve()
    await next(2)
    await next(3)
    const [first, second] = await outcomes
    assert.ok(first?.status === 'rejected' && first.reason === wrong)
    assert.deepEqual(second, served[0])
    assert.equal(calls(), 3)
  })

  test('a call that began before the refusal, for another connection, is not joined: it may say the same', async () => {
    const { outcomes, connect, next, refuse, calls } = await connecting(['old', 'old', 'new', 'new'], 1)
    await next(1)
    await eventually(() => calls() === 1)
    const other = connect()
    await eventually(() => calls() === 2)
    await refuse(1)
    await next(3)
    assert.deepEqual(await outcomes, served.slice(1))
    await next(2)
    await refuse(2)
    await next(4)
    assert.equal(await other, 'new')
  })
})

/** The messages of an error and of all that caused it. */
function inner(error: unknown): string {
  return error instanceof Error ? `${error.message}\n${inner(error.cause)}` : ''
}
