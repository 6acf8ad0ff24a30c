// A service on Redis as a new user writes it from the documents: with metrics, a health check, and an orderly end.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { isPoolError } from 'lifeguard-pool'
import { createRedisPool } from 'lifeguard-pool/ioredis'
import { metricsContentType, metricsText } from 'lifeguard-pool/prometheus'

const pool = createRedisPool(process.env.REDIS_URL, { name: 'visits', max: 4, acquireTimeoutMillis: 2000 })

const routes = {
  '/visits': () => pool.use(async redis => String(await redis.incr('visits'))),
  '/health': () => pool.use(redis => redis.ping(), { timeoutMillis: 500 }),
  '/metrics': async () => metricsText(),
}

const server = createServer(async (request, response) => {
  try {
    if (request.url === '/metrics') response.setHeader('content-type', metricsContentType)
    response.end(await routes[request.url]())
  } catch (error) {
    response.writeHead(isPoolError(error) ? 503 : 500).end(String(error))
  }
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))

process.once('SIGTERM', async () => {
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  await closed
  await pool.close()
  console.log('drained')
})
