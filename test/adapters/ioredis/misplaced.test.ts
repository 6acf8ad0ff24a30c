import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createRedisPool } from '../../../src/adapters/ioredis/index.ts'
import { createPool, isPoolError } from '../../../src/index.ts'

function issuesOf(options: object): readonly string[] {
  try {
    createRedisPool('redis://127.0.0.1:1', options)
  } catch (error) {
    assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'), String(error))
    return error.issues
  }
  throw new Error('should have been refused')
}

describe('options of ioredis among those of the pool', () => {
  const one = (name: string, said: RegExp): void => {
    const issues = issuesOf({ [name]: 'hidden' })
    assert.equal(issues.length, 1, issues.join('\n'))
    assert.match(issues[0] as string, said)
    assert.doesNotMatch(issues[0] as string, /hidden/)
  }

  test('are told where they belong', () => {
    for (const name of [
      'password',
      'username',
      'tls',
      'db',
      'host',
      'port',
      'keyPrefix',
      'commandTimeout',
      'sentinels',
    ])
      one(
        name,
        new RegExp(`^${name} is not an option of the pool: pass it to ioredis, in the first argument$`),
      )
    one('enableReadyCheck', /leave it out: it is true on a pooled client, because a server that still loads/)
    one('retryStrategy', /leave it out: it is null on a pooled client/)
    one('readOnly', /say role: 'replica', or 'any'$/)
    one('scaleReads', /say role: 'replica'$/)
    one('database', /in the first argument it is called db$/)
    one('url', /pass the URL itself as the first argument/)
    one('nodes', /for a Redis Cluster call createRedisClusterPool\(nodes, options\)$/)
    one('maxTotal', /an option of createRedisClusterPool; of one server max is the limit$/)
    one('connectTimeout', /^connectTimeout is not an option \(did you mean createTimeoutMillis\?\)$/)
  })
})

test('a URL that says two things is refused, without either', () => {
  const refused = (url: string): string => {
    try {
      createRedisPool(url)
    } catch (error) {
      return (error as Error).message
    }
    return 'taken'
  }
  for (const [url, name] of [
    ['redis://:secret1@h?password=secret2', 'password'],
    ['redis://zoe:x@h?username=bob', 'username'],
    ['redis://h/3?db=4', 'db'],
  ] as const) {
    assert.match(refused(url), new RegExp(`: the URL has two values for ${name}: leave one out$`))
    assert.doesNotMatch(refused(url), /secret|zoe|bob/)
  }
  assert.equal(refused('redis://:a%2Fb@h/3?password=a/b&db=3'), 'taken')
})

describe('wrong arguments of a call are not called options of the pool', () => {
  test('of use, acquire, resize, close and ready', async () => {
    const pool = createPool({ create: async () => ({}), destroy: async () => {} }, { name: 'p' })
    const said = async (run: () => unknown): Promise<string> => {
      try {
        await run()
      } catch (error) {
        return isPoolError(error, 'POOL_BAD_OPTIONS') ? error.message : String(error)
      }
      return 'nothing'
    }
    assert.match(
      await said(() => pool.use(1 as never)),
      /^1 thing is wrong with the arguments of use of pool 'p': use needs/,
    )
    assert.match(
      await said(() => pool.acquire({ timeout: 1 } as never)),
      /^1 thing is wrong with the options of the acquire of pool 'p': timeout is not an option of acquire/,
    )
    assert.match(
      await said(() => pool.resize({ max: 0 })),
      /^1 thing is wrong with the bounds for resize of pool 'p'/,
    )
    assert.match(
      await said(() => pool.close(3 as never)),
      /^1 thing is wrong with the arguments of close of pool 'p': close takes/,
    )
    assert.match(
      await said(() => pool.ready({ timeoutMillis: -1 })),
      /^1 thing is wrong with the options of the call of pool 'p': timeoutMillis/,
    )
    await pool.close()
  })
})
