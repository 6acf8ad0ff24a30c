/*
 * What is lost when the event loop is blocked again and again for longer than every deadline, with PINGs, creates and
 * acquires under way on a local Redis: the load of `test/runtime/stalls.test.ts`, as long as one likes.
 *
 *     node .build/bench/studies/blocks.js [blocks 30] [blockMillis 300] [timeoutMillis 100] [workers 4,30]
 */

import { startRedis } from '../../test/support/redis-server.ts'
import { blockUnderLoad } from '../../test/support/stall-load.ts'

const [blocks = '30', blockMillis = '300', timeoutMillis = '100', workers = '4,30'] = process.argv.slice(2)
const redis = await startRedis()
for (const count of workers.split(',')) {
  const { failures, ...outcome } = await blockUnderLoad(redis.url, {
    blocks: Number(blocks),
    blockMillis: Number(blockMillis),
    timeoutMillis: Number(timeoutMillis),
    acquireTimeoutMillis: 2 * Number(timeoutMillis),
    workers: Number(count),
  })
  const failed = Object.values(failures).reduce((sum, each) => sum + each, 0)
  process.stdout.write(`${count} at work: ${failed} requests failed; ${JSON.stringify(outcome)}\n`)
}
await redis.stop()
