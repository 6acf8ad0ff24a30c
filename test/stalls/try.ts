import { withRedis } from '../support/redis.ts'
import { blockUnderLoad } from './stall-load.ts'

const redis = await withRedis()
for (const workers of [4, 30])
  console.log(await blockUnderLoad(redis.url, { blocks: 30, blockMillis: 300, timeoutMillis: 100, workers }))
await redis.stop()
