// A service as it was written for generic-pool, with the idioms of its users. It runs twice: as it is, and with the name
// of the package changed and nothing else.
const genericPool = require('generic-pool')
const Redis = require('ioredis')

const pool = genericPool.createPool(
  {
    create: async () => {
      const redis = new Redis(process.env.REDIS_URL, { lazyConnect: true })
      redis.on('error', () => {})
      await redis.connect()
      return redis
    },
    destroy: async redis => {
      await redis.quit()
    },
    validate: async redis => (await redis.ping()) === 'PONG',
  },
  { max: 3, min: 1, testOnBorrow: true, acquireTimeoutMillis: 300, maxWaitingClients: 50 },
)

async function main() {
  const said = []
  const redis = await pool.acquire()
  said.push(pool.size >= 1, pool.borrowed, pool.isBorrowedResource(redis))
  await redis.set('migrated', 0)
  await pool.release(redis)
  await pool.release(redis).catch(error => said.push(error.message.slice(0, 40)))
  await Promise.all(Array.from({ length: 30 }, () => pool.use(client => client.incr('migrated'))))
  said.push(await pool.use(client => client.get('migrated')))
  const busy = Array.from({ length: 3 }, () => pool.use(client => client.blpop('nothing', 1)))
  await pool.acquire().catch(error => said.push(error.name, error.message.slice(0, 25)))
  await Promise.all(busy)
  await pool.destroy(await pool.acquire())
  said.push(pool.borrowed, pool.pending, pool.max, pool.min)
  await pool.drain()
  await pool.clear()
  await pool.acquire().catch(error => said.push(error.message.slice(0, 39)))
  console.log(JSON.stringify(said))
}
main()
