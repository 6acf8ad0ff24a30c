import { setTimeout as delay } from 'node:timers/promises'
import { createRedisPool } from 'lifeguard-pool/ioredis'

/*
 * A queue worker: BLPOP waits on a connection of its own, which is why it needs a pool. What a job does meanwhile uses
 * other connections.
 *
 *     REDIS_URL=redis://… QUEUE=jobs node .build/examples/queue-worker.js
 */

const WORKERS = 3
/** How long one BLPOP waits, in seconds: the longest that a SIGTERM has to wait, too. */
const PATIENCE = 1

const queue = process.env.QUEUE ?? 'jobs'
const pool = createRedisPool(process.env.REDIS_URL ?? 'redis://localhost:6379', {
  name: 'queue-worker',
  // One for each BLPOP, and some for the jobs: with fewer, the workers would starve their own jobs.
  max: WORKERS + 2,
})

let stopping = false
process.once('SIGTERM', () => {
  stopping = true
})

async function work(): Promise<void> {
  while (!stopping) {
    try {
      const popped = await pool.use(redis => redis.blpop(queue, PATIENCE))
      // Only now, with the connection given back: a job that needs one does not hold another.
      if (popped !== null) await perform(popped[1])
    } catch (error) {
      // A server that restarts, a connection that was killed: the next round gets another one. The job of a BLPOP that
      // was cut off may be lost; where that matters, use BLMOVE to a list of jobs in progress.
      console.error(error instanceof Error ? error.message : error)
      await delay(200)
    }
  }
}

async function perform(job: string): Promise<void> {
  const done = await pool.use(redis => redis.incr(`${queue}:done`))
  console.log(`done ${job}, ${done} in all`)
}

console.log('waiting for jobs')
await Promise.all(Array.from({ length: WORKERS }, work))
await pool.close()
console.log('stopped')
