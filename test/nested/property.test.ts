import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { isPoolError, type Pool } from '../../src/index.ts'
import type { Clock } from '../../src/runtime/time/clock.ts'
import { insidesOf } from '../support/insides.ts'
import type { JumpingClock } from '../support/jumping-clock.ts'
import { Chance, seedFrom } from '../support/random.ts'
import { CompiledRun, type Source, Writer } from './compiled-programs.ts'
import { GRACE, type Thing, World } from './pools-on-one-clock.ts'
import { hopeless, type Lender, type Line, type Program, Run, randomProgram } from './random-programs.ts'

/*
 * The oracle: each program keeps the truth about who holds and awaits what. Whoever is rejected must be without hope at
 * that moment; and a deadlock that is not broken shows as a timeout, as nothing else here takes so long.
 */

const PROGRAMS = Number(process.env.LIFEGUARD_PROGRAMS ?? 1000)
/** At once, on one clock; each search looks at the leases of all pools. */
const BATCH = 50
/** Runs of one function in different programs would be taken for each other's: one program after the other. */
const ALONE = 1
/** Longer than any knot takes to be broken. */
const PATIENCE = 60_000

/**
 * Of the knots of one recursive function, as V8 does not tell its runs apart: of 3 000 knots one in twenty was not
 * proved. A tenth, and as many more as chance may add where few programs run.
 */
const mostUnproved = (knots: number): number => knots * 0.1 + 8

const nameOf = (index: number): string => `program-${index}.js`

const lenderOf = (pool: Pool<Thing>): Lender => ({
  acquire: detached => pool.acquire(detached ? { detached } : undefined),
  release: thing => void pool.release(thing as Thing),
  use: (work, detached) => pool.use(work, detached ? { detached } : undefined),
  lease: detached => pool.lease(detached ? { detached } : undefined),
})

/** A program under way. */
interface Running {
  readonly lines: readonly Line[]
  readonly isOver: boolean
  readonly failures: readonly unknown[]
}

/** Random programs of one kind. */
interface Kind<P extends { readonly pools: readonly number[]; readonly isProvable?: boolean }> {
  make(chance: Chance): P
  start(
    program: P,
    name: string,
    lenders: readonly Lender[],
    sleep: (millis: number) => Promise<void>,
  ): Running
  tell(program: P): string
  /** Do all programs run the same functions? */
  readonly isShared: boolean
}

const interpreted = (plain: boolean): Kind<Program> => ({
  make: chance => randomProgram(chance, plain),
  start(program, _, lenders, sleep) {
    const run = new Run(lenders, sleep)
    run.start(program)
    return run
  },
  tell: program => JSON.stringify(program),
  isShared: plain,
})

const compiled: Kind<Source> = {
  make: chance => new Writer(chance).write(),
  start(program, name, lenders, sleep) {
    const run = new CompiledRun(sleep)
    run.start(program, name, lenders)
    return run
  },
  tell: ({ pools, text }) => `${pools}\n${text}`,
  isShared: false,
}

/** Runs until nothing is left to happen. */
async function exhaust(clock: Clock & JumpingClock, runs: readonly Running[]): Promise<void> {
  await clock.advance(600_000, () => runs.every(run => run.isOver))
}

/** @returns how many programs deadlocked, and how many of them were left to their deadlines */
async function judge<P extends { readonly pools: readonly number[]; readonly isProvable?: boolean }>(
  t: TestContext,
  kind: Kind<P>,
  count: number,
): Promise<{ deadlocked: number; missed: number }> {
  const seed = seedFrom('LIFEGUARD_NESTED_SEED')
  t.diagnostic(`seed ${seed}, set LIFEGUARD_NESTED_SEED to repeat`)
  const chance = new Chance(seed)
  let deadlocked = 0
  let missed = 0
  let unproved = 0
  let rejections = 0
  const batch = kind.isShared ? ALONE : BATCH
  for (let done = 0; done < count; done += batch) {
    const programs = Array.from({ length: Math.min(batch, count - done) }, () => kind.make(chance))
    const world = new World()
    const failures: string[] = []
    const runs = programs.map((program, index) => {
      const pools = program.pools.map((max, pool) =>
        world.pool({ name: `${pool}`, max, acquireTimeoutMillis: PATIENCE, deadlockGraceMillis: GRACE }),
      )
      const tell = (what: string) =>
        failures.push(`${what}: program ${done + index} of seed ${seed}: ${kind.tell(program)}`)
      const run = kind.start(program, nameOf(done + index), pools.map(lenderOf), world.sleep)
      for (const pool of pools) {
        watch(pool, run, program.pools, isRight => {
          rejections += 1
          if (!isRight) tell('a waiter of a pool that would have moved was rejected')
        })
      }
      return { run, program, pools, tell }
    })
    await exhaust(
      world.clock,
      runs.map(({ run }) => run),
    )
    for (const { run, program, pools, tell } of runs) {
      if (!run.isOver) tell('not over')
      const late = run.failures.some(failure => isPoolError(failure, 'POOL_ACQUIRE_TIMEOUT'))
      if (late && program.isProvable === false) unproved += 1
      else if (late) missed += 1
      if (late || run.failures.some(failure => isPoolError(failure, 'POOL_DEADLOCK'))) deadlocked += 1
      if (late && process.env.LIFEGUARD_NESTED_SHOW) tell('missed')
      const others = run.failures.filter(
        failure =>
          !isPoolError(failure, 'POOL_DEADLOCK') &&
          !isPoolError(failure, 'POOL_ACQUIRE_TIMEOUT') &&
          (failure as Error).message !== 'a branch failed',
      )
      if (others.length > 0) tell(`failed with ${others[0]}`)
      for (const pool of pools) if (pool.borrowed + pool.pending > 0) tell('something is left')
    }
    await world.end()
    const [shortest] = failures.toSorted((a, b) => a.length - b.length)
    if (shortest !== undefined) assert.fail(`${failures.length} failures, the shortest: ${shortest}`)
  }
  t.diagnostic(
    `${deadlocked} of ${count} programs deadlocked, ${missed} were not proved, ${unproved} more need not be, ${rejections} rejections`,
  )
  assert.ok(count < 1000 || (deadlocked > count / 50 && deadlocked < count * 0.7), `${deadlocked} deadlocks`)
  return { deadlocked, missed }
}

/** Whoever is rejected must have been without hope at that moment, by the truth about all lines. */
function watch(
  pool: Pool<Thing>,
  run: Running,
  sizes: readonly number[],
  onRejection: (isRight: boolean) => void,
): void {
  const { queue } = insidesOf(pool)
  const refuse = queue.reject.bind(queue)
  queue.reject = (waiter, how) => {
    const waiting = [...hopeless(run, sizes)]
    const isRight = waiting.some(line => line.state === 'waits' && String(line.waitsFor) === pool.name)
    if (how === 'deadlocked') onRejection(isRight)
    return refuse(waiter, how)
  }
}

const share = (part: number): number => Math.ceil(PROGRAMS * part)

test('random programs with use: every deadlock is broken, and nobody else is touched', async t => {
  const { missed } = await judge(t, interpreted(false), share(0.5))
  assert.equal(missed, 0)
})

test('random programs with plain acquires, written as people do: the same', async t => {
  const { missed } = await judge(t, compiled, share(0.25))
  assert.equal(missed, 0)
})

test('random programs that are all runs of one recursive function: nobody is touched without need', async t => {
  const { deadlocked, missed } = await judge(t, interpreted(true), share(0.1))
  assert.ok(missed <= mostUnproved(deadlocked), `${missed} of ${deadlocked} were not proved`)
})
