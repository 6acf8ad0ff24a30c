import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { createPool } from '../src/index.ts'
import { medianOf } from './figures.ts'

/*
 * What nested detection costs: node .build/bench/nested.js
 *
 * 'detect' against 'allow', acquire+release and use, each in a process of its own (AsyncLocalStorage slows every promise
 * of its process), in turn; and one look at 10 000 waiters that hold 300 leases. For another version of Node run it by
 * that version's binary.
 */

const ROUNDS = 5
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

/** The longest time for which the loop stood still while the verdict was looked for, again and again: milliseconds. */
async function verdict(): Promise<number> {
  const leases = 300
  const waiters = 10_000
  const pool = createPool(
    { create: () => ({}), destroy: () => {}, busy: () => true },
    { max: leases, acquireTimeoutMillis: false },
  )
  const never = new AbortController()
  const asked: Promise<unknown>[] = []
  await Promise.all(
    Array.from(
      { length: leases },
      (_, index) =>
        new Promise<void>(resolve => {
          void pool.use(() => {
            const own = Math.floor(((index + 1) * waiters) / leases) - Math.floor((index * waiters) / leases)
            for (let count = 0; count < own; count += 1)
              asked.push(pool.acquire({ signal: never.signal }).catch(() => {}))
            resolve()
            return Promise.all(asked)
          })
        }),
    ),
  )
  await new Promise(resolve => setTimeout(resolve, 200))
  let longest = 0
  const end = performance.now() + 3000
  let last = performance.now()
  while (last < end) {
    await new Promise(resolve => setImmediate(resolve))
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }
  never.abort()
  return longest
}

const [what, ...rest] = process.argv.slice(2)
if (what === 'cycles') {
  const [nested, call, workers] = rest as ['allow' | 'detect', string, string]
  process.stdout.write(`${await cycles(nested, call, Number(workers))}`)
} else if (what === 'verdict') {
  process.stdout.write(`${await verdict()}`)
  process.exit(0)
} else {
  const measure = async (...args: string[]): Promise<number> => {
    const { stdout } = await run(process.execPath, [process.argv[1] as string, ...args], { timeout: 120_000 })
    return Number(stdout)
  }
  process.stdout.write(`Node ${process.version}\n\n| | allow | detect | |\n| --- | --- | --- | --- |\n`)
  for (const call of ['acquire+release', 'use']) {
    for (const workers of WORKERS) {
      const values: Record<string, number[]> = { allow: [], detect: [] }
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const mode of MODES) values[mode]?.push(await measure('cycles', mode, call, `${workers}`))
      }
      const [allow, detect] = MODES.map(mode => medianOf(values[mode] ?? [])) as [number, number]
      const row = [`${call}, ${workers} workers`, `${allow.toFixed(0)} ns`, `${detect.toFixed(0)} ns`]
      process.stdout.write(`| ${row.join(' | ')} | +${(detect - allow).toFixed(0)} ns |\n`)
    }
  }
  const looks: number[] = []
  for (let round = 0; round < 3; round += 1) looks.push(await measure('verdict'))
  process.stdout.write(
    `\nLongest pause with 10 000 waiters on 300 leases: ${medianOf(looks).toFixed(1)} ms\n`,
  )
}
