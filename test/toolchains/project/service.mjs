// A small service that uses every entry point; it says what it saw, as JSON.
import { createServer } from 'node:net'
import genericPool, { createPool, isPoolError, PoolError } from 'lifeguard-pool'
import { reportAll } from 'lifeguard-pool/diagnostics'
import { createRedisPool } from 'lifeguard-pool/ioredis'
import { createSocketPool } from 'lifeguard-pool/net'

const warnings = []
process.on('warning', ({ code }) => {
  if (code?.startsWith('LIFEGUARD')) warnings.push(code)
})

const server = createServer(socket => socket.on('error', () => {}).pipe(socket)).listen(
  0,
  '127.0.0.1',
  async () => {
    const pool = createPool({ create: async () => ({}), destroy: async () => {} }, { max: 1 })
    const held = await pool.acquire()
    const late = await pool.acquire({ detached: true, timeoutMillis: 200 }).catch(error => error)
    const knot = await pool.acquire().catch(error => error)
    await pool.release(held)
    const sockets = createSocketPool({ host: '127.0.0.1', port: server.address().port })
    const echoed = await sockets.use(
      socket => new Promise(done => socket.once('data', data => done(String(data))).write('hello')),
    )
    const reports = reportAll().length
    await Promise.all([pool.close(), sockets.close()])
    server.close()
    const facts = {
      timeout: isPoolError(late, 'POOL_ACQUIRE_TIMEOUT') && late instanceof PoolError,
      deadlock: isPoolError(knot, 'POOL_DEADLOCK'),
      echoed,
      isOne: genericPool.createPool === createPool,
      redis: typeof createRedisPool,
      reports,
      warnings,
    }
    process.stdout.write(`${JSON.stringify(facts)}\n`)
  },
)
