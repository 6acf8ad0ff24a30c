import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Factory, PoolOptions } from '../../src/index.ts'
import { type Connection, scripted, turns } from '../support/factories.ts'
import { open } from '../support/pools.ts'
import { rejection } from '../support/rejection.ts'

/** What an acquire that waits in vain is told, and one that does not wait. */
async function told(
  make: () => {
    factory: Factory<Connection>
    options?: PoolOptions
    prepare(pool: ReturnType<typeof open<Connection>>): Promise<unknown>
  },
): Promise<string[]> {
  const { factory, options, prepare } = make()
  const pool = open(factory, { max: 1, acquireTimeoutMillis: 30, ...options })
  await prepare(pool)
  await turns(2)
  const none = await rejection(pool.acquire({ timeoutMillis: 0 }))
  const late = await rejection(pool.acquire())
  return [late.message, none.message]
}

test('the borrowers are not blamed while a connection is closing', async () => {
  const [late, none] = await told(() => {
    const factory = scripted()
    factory.onDestroy.always('hangs')
    return { factory, prepare: async pool => pool.destroy(await pool.acquire()) }
  })
  assert.match(
    late as string,
    /borrowed=0.*closing=1.*No connection is available now: 1 closing\. See whether factory\.destroy is slow/,
  )
  assert.match(none as string, /No connection is available now: 1 closing, and timeoutMillis 0/)
  for (const message of [late, none]) assert.doesNotMatch(message as string, /lent/)
})

test('the borrowers are not blamed while a connection is being reset', async () => {
  const [late, none] = await told(() => {
    const factory = scripted('reset')
    factory.onReset.always('hangs')
    return { factory, prepare: async pool => pool.release(await pool.acquire()) }
  })
  assert.match(
    late as string,
    /resetting=1.*No connection is available now: 1 being reset\. See whether factory\.reset is slow/,
  )
  for (const message of [late, none]) assert.doesNotMatch(message as string, /lent/)
})

test('validate is not blamed for the connections that are lent beside the one that it holds', async () => {
  const [late] = await told(() => {
    const factory = scripted('validate')
    return {
      factory,
      options: { max: 3, testOnBorrow: true, validateTimeoutMillis: 25 },
      async prepare(pool) {
        await pool.acquire()
        await pool.acquire()
        await pool.release(await pool.acquire())
        factory.onValidate.always('hangs')
        pool.acquire().catch(() => {})
      },
    }
  })
  assert.match(
    late as string,
    /2 lent, 1 (?:being validated|closing|being created)\. See report\(\) for who holds them/,
  )
})

test('a pool of which all is lent says so, and no more', async () => {
  const [late, none] = await told(() => ({ factory: scripted(), prepare: pool => pool.acquire() }))
  assert.match(late as string, /All connections are lent\. See report\(\) for who holds them/)
  assert.match(none as string, /All connections are lent, and timeoutMillis 0/)
})
