import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { createPool } from '../../src/index.ts'
import { medianOf } from '../harness/figures.ts'

/*
 * What nested detection costs: node .build/bench/studies/nested.js
 *
 * 'detect' against 'allow', acquire+release and use, in turn, each in a process of its own so that one does not warm up
 * the code of the other; and what it costs to look at 10 000 waiters that hold 300 leases, and to break their knot.
 * `node .build/bench/studies/nested.js verdicts` leaves the first part out. For another version of Node run it by that
 * version's binary.
 */

const ROUNDS = 5
const VERDICT_ROUNDS = 11
const WORKERS = [1, 10, 100]
const MODES = ['allow', 'detect'] as const
const CYCLES = 300_000

const run = promisify(execFile)

/** Nanoseconds a cycle. */
async function cycles(nested: 'allow' | 'detect', call: string, workers: number): Promise<number> {
  const pool = createPool({ create: () => ({}), destroy: () => {} }, { max: 10, nested })
  const each = Math.ceil(CYCLES / workers)
  const work = async (): Promise<void> => {}
  async function lend(): Promise<void> {
    for (let done = 0; done < each; done += 1) await pool.release(await pool.acquire())
  }
  async function use(): Promise<void> {
    for (let done = 0; done < each; done += 1) await pool.use(work)
  }
  let nanos = Number.NaN
  // The first round warms up.
  for (let round = 0; round < 2; round += 1) {
    const start = performance.now()
    await Promise.all(Array.from({ length: workers }, call === 'use' ? use : lend))
    nanos = ((performance.now() - start) / (each * workers)) * 1e6
  }
  return nanos
}

const LEASES = 300
const WAITERS = 10_000
const WATCHED_MILLIS = 3000
/** Turns of the loop that are shorter, in milliseconds, are not kept. */
const NOTHING = 0.01
/** A look is taken every 25 ms or less often: the 30th longest of the pauses in 3 seconds is one that it makes. */
const TYPICAL = 29
/** By then V8 has compiled what the verdict runs. */
const WARM = 10

type Kind = 'idle' | 'busy' | 'knot'

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

interface Crowd {
  readonly broken: Promise<unknown>
  leave(): Promise<unknown>
}

/**
 * 10 000 waiters that hold 300 leases. What making them has left behind is collected, so that it is not counted.
 *
 * - `idle`: nothing looks (`nested: 'allow'`): what the machine and the garbage collector do by themselves
 * - `busy`: every holder shows signs of life, so the cheap look is taken again and again
 * - `knot`: nobody does, until the first waiter is rejected
 */
async function crowd(kind: Kind): Promise<Crowd> {
  const pool = createPool(
    { create: () => ({}), destroy: () => {}, busy: () => kind === 'busy' },
    { max: LEASES, acquireTimeoutMillis: false, nested: kind === 'idle' ? 'allow' : 'detect' },
  )
  const broken = new Promise(resolve => pool.on('deadlock', resolve))
  const leaving = new AbortController()
  const wait = (): Promise<unknown> => pool.acquire({ signal: leaving.signal })
  const share = (index: number): number => Math.floor((index * WAITERS) / LEASES)
  async function hold(index: number): Promise<void> {
    await Promise.all(Array.from({ length: share(index + 1) - share(index) }, wait))
  }
  const tasks = Array.from({ length: LEASES }, (_, index) =>
    pool.use(() => hold(index)).catch(() => undefined),
  )
  while (pool.pending < WAITERS) await turn()
  globalThis.gc?.()
  await turn()
  return {
    broken,
    leave: () => {
      leaving.abort()
      return Promise.all(tasks)
    },
  }
}

/** The longest time for which the loop stood still until the knot broke, or in 3 s, and the 30th longest, in ms. */
async function pauses(kind: Kind): Promise<number[]> {
  const { broken, leave } = await crowd(kind)
  let isBroken = false
  void broken.then(() => {
    isBroken = true
  })
  const found: number[] = []
  let last = performance.now()
  const end = last + WATCHED_MILLIS
  while (last < end && !isBroken) {
    await turn()
    const now = performance.now()
    if (now - last > NOTHING) found.push(now - last)
    last = now
  }
  if (isBroken !== (kind === 'knot'))
    throw new Error(`a knot was ${isBroken ? '' : 'not '}found in '${kind}'`)
  await leave()
  found.sort((a, b) => b - a)
  return [found[0] ?? 0, found[TYPICAL] ?? 0]
}

/** For how long the loop was at work until a knot had been broken, in milliseconds. */
async function work(): Promise<number[]> {
  const { broken, leave } = await crowd('knot')
  const alive = setInterval(() => {}, WATCHED_MILLIS)
  const before = performance.eventLoopUtilization()
  await broken
  const { active } = performance.eventLoopUtilization(before)
  clearInterval(alive)
  await leave()
  return [active]
}

type Measure = (...args: string[]) => Promise<number[]>

/** What `'detect'` adds to a loan. */
async function costs(measure: Measure): Promise<void> {
  process.stdout.write(`| | allow | detect | |\n| --- | --- | --- | --- |\n`)
  for (const call of ['acquire+release', 'use']) {
    for (const workers of WORKERS) {
      const values: Record<string, number[]> = { allow: [], detect: [] }
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const mode of MODES) values[mode]?.push(...(await measure('cycles', mode, call, `${workers}`)))
      }
      const [allow, detect] = MODES.map(mode => medianOf(values[mode] ?? [])) as [number, number]
      const row = [`${call}, ${workers} workers`, `${allow.toFixed(0)} ns`, `${detect.toFixed(0)} ns`]
      process.stdout.write(`| ${row.join(' | ')} | +${(detect - allow).toFixed(0)} ns |\n`)
    }
  }
}

/** What the verdict costs. */
async function verdicts(measure: Measure): Promise<void> {
  process.stdout.write('10 000 waiters on 300 leases, in ms: median (least to most) of the runs\n')
  const told = (values: number[]): string => {
    const [least, most] = [Math.min(...values), Math.max(...values)]
    return `${medianOf(values).toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`
  }
  for (const kind of ['idle', 'busy'] as const) {
    const runs: number[][] = []
    for (let round = 0; round < ROUNDS; round += 1) runs.push(await measure('verdict', kind, 'pauses', '1'))
    const [longest, typical] = [0, 1].map(at => told(runs.map(found => found[at] as number)))
    process.stdout.write(`${kind}: longest pause ${longest}, 30th longest ${typical}\n`)
  }
  for (const time of [1, WARM]) {
    const longest: number[] = []
    const working: number[] = []
    for (let round = 0; round < VERDICT_ROUNDS; round += 1) {
      longest.push((await measure('verdict', 'knot', 'pauses', `${time}`))[0] as number)
      working.push((await measure('verdict', 'knot', 'work', `${time}`))[0] as number)
    }
    process.stdout.write(
      `knot ${time} of a process: longest pause ${told(longest)}, work in all ${told(working)}\n`,
    )
  }
}

const [what, ...rest] = process.argv.slice(2)
if (what === 'cycles') {
  const [nested, call, workers] = rest as ['allow' | 'detect', string, string]
  process.stdout.write(`${await cycles(nested, call, Number(workers))}`)
} else if (what === 'verdict') {
  const [kind, measured, times] = rest as [Kind, 'pauses' | 'work', string]
  let last: number[] = []
  for (let time = 0; time < Number(times); time += 1)
    last = measured === 'work' ? await work() : await pauses(kind)
  process.stdout.write(last.join(' '))
  process.exit(0)
} else {
  const measure: Measure = async (...args) => {
    const { stdout } = await run(process.execPath, ['--expose-gc', process.argv[1] as string, ...args], {
      timeout: 120_000,
    })
    return stdout.split(' ').map(Number)
  }
  process.stdout.write(`Node ${process.version}\n\n`)
  if (what !== 'verdicts') await costs(measure)
  await verdicts(measure)
}
