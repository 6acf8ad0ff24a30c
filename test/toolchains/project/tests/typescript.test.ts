import genericPool, { createPool, isPoolError } from 'lifeguard-pool'
import { createRedisPool } from 'lifeguard-pool/ioredis'

test('the package and its types load in ts-jest', async () => {
  const options: genericPool.Options = { max: 1 }
  const factory: genericPool.Factory<{ id: number }> = {
    create: async () => ({ id: 1 }),
    destroy: async () => {},
  }
  const pool: genericPool.Pool<{ id: number }> = genericPool.createPool(factory, options)
  pool.on('an event of their own', (first, second) => [first, second])
  expect(await pool.use(({ id }) => id)).toBe(1)
  await pool.close()
  expect(typeof createRedisPool).toBe('function')
  expect(createPool).toBe(genericPool.createPool)
  expect(isPoolError(new Error('no'))).toBe(false)
})
