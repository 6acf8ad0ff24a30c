const genericPool = require('lifeguard-pool')
const { createRedisPool } = require('lifeguard-pool/ioredis')
const { createSocketPool } = require('lifeguard-pool/net')

const factory = { create: async () => ({}), destroy: async () => {} }

afterEach(() => {
  jest.useRealTimers()
  jest.restoreAllMocks()
})

test('the package loads in CommonJS, with all its entry points', async () => {
  expect(typeof createRedisPool).toBe('function')
  const sockets = createSocketPool({ host: '127.0.0.1', port: 1 }, { acquireTimeoutMillis: 300 })
  const error = await sockets.acquire().catch(reason => reason)
  expect(error.message).toMatch(/ECONNREFUSED/)
  await sockets.close()
})

test('a double can be put in the place of createPool', () => {
  jest.spyOn(genericPool, 'createPool').mockReturnValue('double')
  expect(genericPool.createPool()).toBe('double')
})

test('deadlines follow the fake timers of Jest, with all their defaults, of a pool made before them', async () => {
  const pool = genericPool.createPool(factory, { max: 1, idleTimeoutMillis: 30_000 })
  const held = await pool.acquire()
  jest.useFakeTimers().setSystemTime(new Date('2040-01-01'))
  const refused = expect(pool.acquire({ detached: true })).rejects.toMatchObject({
    code: 'POOL_ACQUIRE_TIMEOUT',
    waitedMillis: 5000,
  })
  jest.advanceTimersByTime(5000)
  await refused
  await pool.release(held)
  await jest.advanceTimersByTimeAsync(30_100)
  expect(pool.size).toBe(0)
  jest.runAllTimers()
  jest.useRealTimers()
  expect(pool.stats().stalls.longestMillis).toBeLessThan(5000)
  await pool.close()
})
