import { createRedisPool } from 'lifeguard-pool/ioredis'

/*
 * `before.ts` on lifeguard-pool. What has gone:
 *
 *   the factory        createRedisPool connects, closes and checks; an error while connecting reaches the caller
 *   testOnBorrow       a connection that was in use just now needs no PING, a dead one is seen without
 *   the deadline       there is one by default; it stays here because it differs from that
 *
 * What is used from here on is unchanged: acquire, release, use, drain, clear. A factory of your own works, too: then only
 * the import changes, `import { createPool } from 'lifeguard-pool'`.
 *
 *     REDIS_URL=redis://… node .build/examples/from-generic-pool/after.js
 */

const pool = createRedisPool(process.env.REDIS_URL ?? 'redis://localhost:6379', {
  max: 4,
  acquireTimeoutMillis: 3000,
})

const key = `migrating:${process.pid}`
const redis = await pool.acquire()
await redis.set(key, 1)
await pool.release(redis)
await Promise.all(Array.from({ length: 20 }, () => pool.use(client => client.incr(key))))
console.log(`the counter is at ${await pool.use(client => client.getdel(key))}`)
await pool.drain()
await pool.clear()
