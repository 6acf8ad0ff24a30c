import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { createRedisClusterPool, createRedisPool } from '../../../src/adapters/ioredis/index.ts'
import { withRedis } from '../../support/redis.ts'

const { skip, ...redis } = await withRedis()
after(() => redis.stop())

/** Both kinds of pools, as an acquire that waits for ever would show what is not told at once. */
const OPTIONS = { acquireTimeoutMillis: false } as const
async function eachSays(credentials: unknown, said: RegExp, never: RegExp, user = ''): Promise<void> {
  const given = { ...OPTIONS, credentials: credentials as () => { password: string } }
  const url = redis.url.replace('//', `//${user}`)
  await using single = createRedisPool(url, given)
  await using cluster = createRedisClusterPool(url, given)
  for (const lent of [() => single.use(() => {}), () => cluster.use({ key: 'a' }, () => {})])
    await assert.rejects(lent(), (error: Error) => {
      assert.match(error.message, said)
      assert.doesNotMatch(error.message, never)
      return true
    })
}

describe('what the function credentials does wrong is told as that', { skip }, () => {
  test('a wrong answer', async () => {
    await eachSays(
      () => ({ username: 7 }),
      /2 things are wrong with what the function credentials returned: .* Correct what the function credentials returns/,
      /creates the client|wrong with the options/,
    )
  })

  test('a bug in it', async () => {
    const buggy = (): never => (undefined as unknown as { token: () => never }).token()
    await eachSays(buggy, /It looks like a bug in the function credentials, which/, /factory\.create/)
  })

  test('another user than the URL names: none of the two is silently taken, and none is shown', async () => {
    const credentials = () => ({ username: 'bob', password: 'hidden' })
    await eachSays(
      credentials,
      /must give the same username as the options of ioredis or the URL/,
      /bob|zoe|hidden/,
      'zoe@',
    )
  })
})
