import assert from 'node:assert/strict'
import { on, once } from 'node:events'
import { test } from 'node:test'
import { createPool, type Pool } from '../../src/index.ts'

const newPool = (): Pool<object> => createPool({ create: () => ({}), destroy: () => {} }, { max: 1 })

async function loan(pool: Pool<object>): Promise<void> {
  await pool.release(await pool.acquire())
}

test('the events of a loan are told to whoever listens, however they came to listen, until they do no more', async () => {
  await using pool = newPool()
  const heard: string[] = []
  const hear = (how: string) => (): void => void heard.push(how)
  const [first, second, third] = [hear('on'), hear('addListener'), hear('prependListener')] as const
  pool.on('acquire', first)
  pool.addListener('release', second)
  pool.prependListener('release', third)
  pool.once('acquire', hear('once'))
  pool.prependOnceListener('release', hear('prependOnceListener'))
  await loan(pool)
  assert.deepEqual(heard, ['on', 'once', 'prependOnceListener', 'prependListener', 'addListener'])
  heard.length = 0
  await loan(pool)
  assert.deepEqual(heard, ['on', 'prependListener', 'addListener'])
  pool.off('acquire', first)
  pool.removeListener('release', second)
  heard.length = 0
  await loan(pool)
  assert.deepEqual(heard, ['prependListener'])
  pool.removeAllListeners('release')
  heard.length = 0
  await loan(pool)
  assert.deepEqual(heard, [])
  assert.deepEqual(pool.eventNames(), [])
})

test('the events of a loan by events.once and events.on', async () => {
  await using pool = newPool()
  const told = once(pool, 'acquire')
  await loan(pool)
  assert.equal((await told)[0].pool, pool.name)
  const stop = new AbortController()
  const heard: unknown[] = []
  const listening = (async () => {
    for await (const [{ heldMillis }] of on(pool, 'release', { signal: stop.signal })) {
      heard.push(heldMillis)
      if (heard.length === 2) break
    }
  })()
  await loan(pool)
  await loan(pool)
  await listening
  assert.equal(heard.length, 2)
  assert.equal(pool.listenerCount('release'), 0)
})
