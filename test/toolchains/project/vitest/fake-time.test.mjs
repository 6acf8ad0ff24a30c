import { createPool } from 'lifeguard-pool'
import { afterEach, expect, test, vi } from 'vitest'

afterEach(() => vi.useRealTimers())

test('deadlines follow the fake timers of Vitest, with all their defaults', async () => {
  const pool = createPool({ create: async () => ({}), destroy: async () => {} }, { max: 1 })
  const held = await pool.acquire()
  vi.useFakeTimers()
  const refused = expect(pool.acquire({ detached: true })).rejects.toMatchObject({ waitedMillis: 5000 })
  vi.advanceTimersByTime(5000)
  await refused
  vi.runAllTimers()
  vi.useRealTimers()
  await pool.release(held)
  await pool.close()
})
