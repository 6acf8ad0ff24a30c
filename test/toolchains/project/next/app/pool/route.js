import { createPool, isPoolError, PoolError } from 'lifeguard-pool'
import { reportAll } from 'lifeguard-pool/diagnostics'
import { createRedisPool } from 'lifeguard-pool/ioredis'
import { metricsText } from 'lifeguard-pool/prometheus'

const pool = createPool({ create: async () => ({}), destroy: async () => {} }, { max: 1, name: 'route' })
const redis = createRedisPool(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', { name: 'redis' })

export const dynamic = 'force-dynamic'

export async function GET() {
  const held = await pool.acquire()
  const late = await pool.acquire({ detached: true, timeoutMillis: 200 }).catch(error => error)
  await pool.release(held)
  return Response.json({
    timeout: isPoolError(late, 'POOL_ACQUIRE_TIMEOUT') && late instanceof PoolError,
    redis: await redis.use(client => client.ping()),
    reports: reportAll().some(report => report.includes('redis')),
    metrics: metricsText().includes('pool="route"') || metricsText().includes('route'),
  })
}
