/*
 * The first loans of a process, by independent callers one after the other: none is inside another. Run by
 * `contexts.test.ts` in a process of its own, as whatever runs before would have switched context tracking on.
 */

// As a service that starts up: the pool is made in the middle of an async function, whose promises are not tracked yet.
const { createPool } = await import('../../src/index.ts')
const pool = createPool({ create: async () => ({}), destroy: () => {} }, { max: 2 })
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

async function caller(): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    if (process.argv[2] === 'use') await pool.use(turn)
    else {
      const connection = await pool.acquire()
      await turn()
      await pool.release(connection)
    }
  }
}

await Promise.all(Array.from({ length: 6 }, caller))
process.stdout.write(`${pool.stats().totals.nested} nested`)
