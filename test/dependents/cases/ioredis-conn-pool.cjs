// ioredis-conn-pool lends clients, counts them, and ends all of them.
const assert = require('node:assert/strict')
const { once } = require('node:events')
const { RedisPool } = require('ioredis-conn-pool')

const quiet = { info() {}, error() {} }

module.exports = async ({ redisUrl }) => {
  const { hostname: host, port } = new URL(redisUrl)
  const pool = new RedisPool({ redis: { host, port: Number(port) }, pool: { min: 1, max: 3 }, logger: quiet })
  await once(pool, 'ready')
  const client = await pool.getConnection()
  assert.equal(await client.set('conn-pool', 'yes'), 'OK')
  await pool.release(client)
  const all = await Promise.all([pool.getConnection(), pool.getConnection(), pool.getConnection(0)])
  assert.equal(new Set(all).size, 3)
  assert.equal(await all[2].get('conn-pool'), 'yes')
  await pool.disconnect(all[0])
  for (const each of all.slice(1)) await pool.release(each)
  await pool.end()
}
