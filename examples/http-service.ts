import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isPoolError } from 'lifeguard-pool'
import { createRedisPool } from 'lifeguard-pool/ioredis'
import { metricsContentType, metricsText } from 'lifeguard-pool/prometheus'

/*
 * An HTTP service with a Redis pool: a health check, metrics for Prometheus, a report for the person on call, and an
 * orderly end on SIGTERM. Only /visits is for the public.
 *
 *     REDIS_URL=redis://… PORT=8080 node .build/examples/http-service.js
 */

const pool = createRedisPool(process.env.REDIS_URL ?? 'redis://localhost:6379', {
  name: 'http-service',
  max: 10,
  fifo: false,
  acquireTimeoutMillis: 2000,
  maxWaitingClients: 200,
})

const routes: Readonly<Record<string, (response: ServerResponse) => Promise<string>>> = {
  '/visits': () => pool.use(async redis => String(await redis.incr('http-service:visits'))),
  // A short wait of its own: a health check that waits as long as everybody else shows nothing.
  '/health': () => pool.use(redis => redis.ping(), { timeoutMillis: 500 }),
  '/metrics': async response => {
    response.setHeader('content-type', metricsContentType)
    return metricsText()
  },
  '/report': async () => pool.report(),
  '/stats': async () => JSON.stringify(pool.stats()),
}

function fail(response: ServerResponse, error: unknown): void {
  // The pool's own errors say that there is no connection now: the caller may try again, elsewhere or later.
  const status = isPoolError(error) ? 503 : 500
  response.writeHead(status, { 'content-type': 'text/plain' })
  response.end(error instanceof Error ? error.message : String(error))
}

const server = createServer(async (request, response) => {
  const route = routes[request.url ?? '']
  try {
    if (route === undefined) response.writeHead(404).end()
    else response.end(await route(response))
  } catch (error) {
    fail(response, error)
  }
})

server.listen(Number(process.env.PORT ?? 0), '127.0.0.1')
await once(server, 'listening')
console.log(`listening on ${(server.address() as AddressInfo).port}`)

process.once('SIGTERM', async () => {
  // First the requests, then the connections that they need.
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  await closed
  await pool.close({ timeoutMillis: 5000 })
  console.log('drained')
})
