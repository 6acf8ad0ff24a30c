import { poolOf } from '../contenders/pools.ts'
import type { Scene } from './scene.ts'
import { perOperation } from './timing.ts'

/** What the user's own code does all day. */
async function awaits(count: number): Promise<void> {
  for (let done = 0; done < count; done += 1) await undefined
}

const NO_POOL = 'no pool'
const GROUP = 'What a pool costs the rest of the process: one await of its user’s own'

/** An await beside a pool in some state, in a process of its own: what a pool switches on stays on. */
function beside(
  state: string,
  bring: (pool: ReturnType<typeof poolOf>) => Promise<unknown>,
): [string, Scene] {
  const row = `an await beside a pool that is ${state}`
  return [
    `rest of the process: ${state}`,
    {
      group: GROUP,
      contenders: [NO_POOL, 'generic-pool', 'lifeguard-pool'],
      base: NO_POOL,
      rounds: 5,
      eachNode: true,
      async run(contender) {
        if (contender !== NO_POOL) await bring(poolOf(contender, { max: 10, timeoutMillis: 600_000 }))
        return [{ row, unit: 'ns', ...(await perOperation(awaits, 1000)) }]
      },
    },
  ]
}

const lend = async (pool: ReturnType<typeof poolOf>, count: number): Promise<void> => {
  for (let done = 0; done < count; done += 1) {
    await pool.use(async () => {})
    pool.release(await pool.acquire())
  }
}

export const SCENES: Readonly<Record<string, Scene>> = Object.fromEntries([
  beside('idle', async pool => pool.release(await pool.acquire())),
  beside('in use', async pool => {
    await lend(pool, 1000)
    await pool.acquire()
  }),
  beside('full, with ten who wait', async pool => {
    await lend(pool, 1000)
    for (let lent = 0; lent < 10; lent += 1) await pool.acquire()
    for (let waiting = 0; waiting < 10; waiting += 1) void pool.acquire()
  }),
])
