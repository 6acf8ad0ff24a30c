import type { Redis } from 'ioredis'
import type { Pool } from 'lifeguard-pool'
import { createRedisPool } from 'lifeguard-pool/ioredis'

/*
 * Optimistic transactions: WATCH marks a connection, so it must not be shared while it is watching.
 *
 *     REDIS_URL=redis://… node .build/examples/watch-transaction.js
 */

const MOST_TRIES = 100

/**
 * Runs a transaction again until nobody else has changed the keys meanwhile.
 *
 * @param plan - reads what it needs, and returns the transaction without EXEC; `undefined` calls it off
 * @returns the replies, or undefined if it was called off
 */
export async function transaction(
  pool: Pool<Redis>,
  keys: string[],
  plan: (redis: Redis) => Promise<ReturnType<Redis['multi']> | undefined>,
): Promise<unknown[] | undefined> {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    // A loan for each try: between them, others get their turn.
    const outcome = await pool.use(async redis => {
      await redis.watch(...keys)
      const multi = await plan(redis)
      if (multi !== undefined) return multi.exec()
      await redis.unwatch()
      return undefined
    })
    // null: somebody was faster.
    if (outcome !== null) return outcome
  }
  throw new Error(`gave up after ${MOST_TRIES} conflicts over ${keys.join(', ')}`)
}

/** Moves money, unless there is too little. @returns whether it did */
export async function transfer(
  pool: Pool<Redis>,
  from: string,
  to: string,
  amount: number,
): Promise<boolean> {
  const done = await transaction(pool, [from], async redis => {
    const balance = Number(await redis.get(from))
    return balance < amount ? undefined : redis.multi().decrby(from, amount).incrby(to, amount)
  })
  return done !== undefined
}

const pool = createRedisPool(process.env.REDIS_URL ?? 'redis://localhost:6379', { name: 'bank', max: 5 })
const [alice, bob] = [`bank:${process.pid}:alice`, `bank:${process.pid}:bob`]
await pool.use(redis => redis.mset(alice, 100, bob, 0))
// More than Alice has: three of them must be refused.
const done = await Promise.all(Array.from({ length: 13 }, () => transfer(pool, alice, bob, 10)))
const balances = await pool.use(redis => redis.mget(alice, bob))
console.log(`${done.filter(Boolean).length} transfers, balances ${balances.join(' and ')}`)
await pool.use(redis => redis.del(alice, bob))
await pool.close()
