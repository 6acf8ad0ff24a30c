// ts-ioredis-pool lends clients that have proved themselves, and ends all of them.
const assert = require('node:assert/strict')

module.exports = async ({ redisUrl }) => {
  // Its main file has a generic-pool of its own bundled in.
  const { IORedisPool, IORedisPoolOptions } = await import(
    '@dailydotdev/ts-ioredis-pool/dist/ts-ioredis-pool.js'
  )
  const { hostname, port } = new URL(redisUrl)
  const options = IORedisPoolOptions.fromHostAndPort(hostname, Number(port)).withPoolOptions({
    min: 1,
    max: 4,
    testOnBorrow: true,
  })
  const pool = new IORedisPool(options)
  const client = await pool.getConnection()
  assert.equal(await client.set('ts-pool', 'yes'), 'OK')
  await pool.release(client)
  const values = await Promise.all(
    Array.from({ length: 12 }, async () => {
      const each = await pool.getConnection()
      const value = await each.get('ts-pool')
      await pool.release(each)
      return value
    }),
  )
  assert.deepEqual(new Set(values), new Set(['yes']))
  await pool.end()
}
