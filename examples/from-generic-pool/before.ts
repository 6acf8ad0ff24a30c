import genericPool from 'generic-pool'
import { Redis } from 'ioredis'

/*
 * generic-pool and ioredis, as in many services. `after.ts` is the same with lifeguard-pool.
 *
 *     REDIS_URL=redis://… node .build/examples/from-generic-pool/before.js
 */

const pool = genericPool.createPool<Redis>(
  {
    create: async () => {
      const redis = new Redis(process.env.REDIS_URL ?? 'redis://localhost:6379', { lazyConnect: true })
      // Without this listener an error while connecting would bring the process down.
      redis.on('error', () => {})
      await redis.connect()
      return redis
    },
    destroy: async redis => {
      await redis.quit()
    },
    validate: async redis => (await redis.ping()) === 'PONG',
  },
  { max: 4, testOnBorrow: true, acquireTimeoutMillis: 3000 },
)

const key = `migrating:${process.pid}`
const redis = await pool.acquire()
await redis.set(key, 1)
await pool.release(redis)
await Promise.all(Array.from({ length: 20 }, () => pool.use(client => client.incr(key))))
console.log(`the counter is at ${await pool.use(client => client.getdel(key))}`)
await pool.drain()
await pool.clear()
