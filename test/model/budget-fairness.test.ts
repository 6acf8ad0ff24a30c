import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBudget, type Pool } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from '../support/clock.ts'
import { Chance, seedFrom } from '../support/random.ts'

/*
 * Random programs of tasks that use several pools on one budget. Every loan lasts 1 ms, so that fairness can be counted: how
 * many loans of others begin while an acquire waits.
 */

const PROGRAMS = Number(process.env.LIFEGUARD_PROGRAMS ?? 40)
const LOANS = 12

interface Tenant {
  readonly pool: Pool<object>
  readonly name: string
  users: number
  made: number
}

interface Outcome {
  readonly text: string
  readonly tenants: readonly Tenant[]
  readonly max: number
  loans: number
  /** The acquire that waited longest for its turn, by what it should have waited at most. */
  worst: { ratio: number; text: string }
}

interface Plan {
  readonly max: number
  /** For each pool: its own max, its users, and how long each pauses between two loans. */
  readonly pools: readonly { readonly max: number; readonly users: readonly number[] }[]
}

function randomPlan(chance: Chance): Plan {
  const pools = Array.from({ length: 2 + chance.below(4) }, () => ({
    max: 1 + chance.below(6),
    users: Array.from({ length: 1 + chance.below(6) }, () => chance.pick([0, 0, 0, 1, 3, 20])),
  }))
  return { max: 1 + chance.below(6), pools }
}

/** Runs the tasks of a plan until each has had its loans. Throws if somebody is not served. */
async function run(plan: Plan, chance: Chance, loans = LOANS): Promise<Outcome> {
  const clock = new FakeClock()
  const sleep = (millis: number): Promise<void> =>
    millis === 0 ? Promise.resolve() : new Promise(resolve => clock.after(millis, resolve))
  const budget = createBudget({ max: plan.max })
  const tenants = plan.pools.map(({ max, users }, index): Tenant => {
    const tenant = { name: `pool ${index}`, users: users.length, made: 0 }
    const pool = openPool<object>(
      {
        create: async () => {
          await sleep(1 + chance.below(2))
          tenant.made += 1
          return {}
        },
        destroy: () => sleep(chance.below(2)),
      },
      {
        ...{ max, budget, name: tenant.name, nested: 'allow', acquireTimeoutMillis: false },
        fifo: chance.oneIn(2),
      },
      false,
      { clock, random: chance.next },
    )
    return Object.assign(tenant, { pool })
  })
  const outcome: Outcome = {
    text: JSON.stringify(plan),
    ...{ tenants, max: plan.max, loans: 0, worst: { ratio: 0, text: '' } },
  }
  const check = (): void => {
    const { used } = budget.stats()
    assert.ok(used <= plan.max, `${used} connections of ${plan.max}`)
  }
  let left = 0
  const user = async (tenant: Tenant, pauseMillis: number): Promise<void> => {
    left += 1
    for (let count = 0; count < loans; count += 1) {
      const before = outcome.loans
      const ahead = tenant.pool.pending
      const everywhere = tenants.reduce((sum, { pool }) => sum + pool.pending + pool.borrowed, 0)
      const resource = await tenant.pool.acquire()
      const others = outcome.loans - before
      outcome.loans += 1
      check()
      // All that wait or are lent already, and for each turn of its own pool one of each other place and pool.
      const fair = everywhere + (ahead + 1) * (plan.max + tenants.length) * 2
      if (others / fair > outcome.worst.ratio)
        outcome.worst = {
          ratio: others / fair,
          text: `${others} loans of others while the acquire at place ${ahead} of ${tenant.name} waited, fair are ${fair}`,
        }
      await sleep(1)
      await tenant.pool.release(resource)
      await sleep(pauseMillis)
    }
    left -= 1
  }
  const users = plan.pools.flatMap(({ users }, index) =>
    users.map(pauseMillis => user(tenants[index] as Tenant, pauseMillis)),
  )
  const failure = Promise.all(users).then(
    () => undefined,
    error => error as Error,
  )
  for (let steps = 0; left > 0 && steps < 20_000; steps += 1) {
    await clock.advance(1)
    check()
  }
  assert.equal(left, 0, `tasks starve:\n${budget.report()}`)
  assert.ifError(await failure)
  const closing = tenants.map(({ pool }) => pool.close())
  await clock.advance(100)
  await Promise.all(closing)
  return outcome
}

test('random programs on one budget: no connection too many, and no acquire waits for more loans of others than is fair', async t => {
  const seed = seedFrom('LIFEGUARD_SEED')
  t.diagnostic(`seed ${seed}: repeat with LIFEGUARD_SEED=${seed} LIFEGUARD_PROGRAMS=1`)
  let worst = { ratio: 0, text: '' }
  for (let program = 0; program < PROGRAMS; program += 1) {
    const chance = new Chance(seed + program)
    const outcome = await run(randomPlan(chance), chance)
    assert.ok(
      outcome.worst.ratio <= 1,
      `LIFEGUARD_SEED=${seed + program}: ${outcome.worst.text}\n${outcome.text}`,
    )
    if (outcome.worst.ratio > worst.ratio) worst = outcome.worst
  }
  t.diagnostic(`the least fair wait: ${worst.text}`)
})

test('where each pool can have a connection, a task that comes back for the next loan at once finds it again', async () => {
  const users = (count: number): number[] => Array.from({ length: count }, () => 0)
  const plans: Plan[] = [
    { max: 3, pools: [1, 1, 4].map(count => ({ max: 3, users: users(count) })) },
    { max: 2, pools: [1, 6].map(count => ({ max: 6, users: users(count) })) },
    { max: 5, pools: [2, 9].map(count => ({ max: 9, users: users(count) })) },
  ]
  for (const plan of plans) {
    const { tenants, loans, text } = await run(plan, new Chance(1), 100)
    const made = tenants.reduce((sum, tenant) => sum + tenant.made, 0)
    assert.ok(made <= 2 * plan.max, `${made} connections made for ${loans} loans: ${text}`)
  }
})

test('an idle connection goes to a pool that waits and has its share, though nothing else happens', async () => {
  const clock = new FakeClock()
  const budget = createBudget({ max: 2 })
  const open = (): Pool<object> =>
    openPool<object>(
      { create: async () => ({}), destroy: () => {} },
      { max: 2, budget, nested: 'allow', acquireTimeoutMillis: false },
      false,
      { clock, random: () => 0.5 },
    )
  const [idle, busy] = [open(), open()]
  const held = busy.acquire()
  await clock.advance(1)
  await idle.use(() => {})
  let isServed = false
  const second = busy.acquire().then(resource => {
    isServed = true
    return resource
  })
  await clock.advance(1)
  assert.equal(isServed, false, 'its pool may need it at once')
  await clock.advance(20)
  assert.equal(isServed, true)
  for (const each of [held, second]) await busy.release(await each)
  const closing = [idle.close(), busy.close()]
  await clock.advance(100)
  await Promise.all(closing)
})
