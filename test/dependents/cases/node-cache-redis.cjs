// node-cache-redis keeps values through pooled clients of redis 3.
const assert = require('node:assert/strict')
const { default: RedisStore } = require('node-cache-redis/dist/src/RedisStore.js')

module.exports = async ({ redisUrl }) => {
  const { hostname: host, port } = new URL(redisUrl)
  const redisOptions = { host, port: Number(port) }
  const store = new RedisStore({ name: 'cache', redisOptions, poolOptions: { min: 1, max: 3 } })
  assert.equal(await store.ping(), 'PONG')
  await store.set('cached', { answer: 42 })
  const all = await Promise.all(Array.from({ length: 10 }, () => store.get('cached')))
  assert.deepEqual(new Set(all.map(value => JSON.stringify(value))), new Set(['{"answer":42}']))
  assert.ok(store.getPoolSize() <= 3)
  await store.drain()
}
