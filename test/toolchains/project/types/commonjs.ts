import genericPool, { createPool, isPoolError, type Options, type Pool } from 'lifeguard-pool'
import { reportAll } from 'lifeguard-pool/diagnostics'
import { createRedisPool } from 'lifeguard-pool/ioredis'
import { createSocketPool } from 'lifeguard-pool/net'

const options: Options & genericPool.Options = { max: 2, acquireTimeoutMillis: false }
const factory: genericPool.Factory<{ id: number }> = {
  create: async () => ({ id: 1 }),
  destroy: async () => {},
}
const pool: Pool<{ id: number }> = createPool(factory, options)
pool.on('an event of their own', (first, second) => [first, second])
pool.on('release', ({ heldMillis, resource }) => heldMillis + resource.id)

export const used: Promise<number> = pool.use(({ id }) => id)
export const error = (given: unknown): string | undefined =>
  isPoolError(given, 'POOL_BAD_OPTIONS') ? given.issues.join() : undefined
export const others = [createRedisPool, createSocketPool, reportAll, genericPool.createPool]
