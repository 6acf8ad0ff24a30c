import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { createPool } from '../src/index.ts'
import { medianOf } from './figures.ts'

/*
 * What nested detection costs: node .build/bench/nested.js
 *
 * 'detect' against 'allow', acquire+release and use, each in a process of its own (AsyncLocalStorage slows every promise
 * of its process), in turn; and what it costs to look at 10 000 waiters
 * that hold 300 leases. For another version of Node run it by
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

const LEASES = 300
const WAITERS = 10_000
const WATCHED_MILLIS = 3000
/** Turns of the loop that are shorter, in milliseconds, are not kept. */
const NOTHING = 0.01

/** A look is taken every 25 ms or less often: the 30th longest of the pauses in 3 seconds is one that it makes. */
const TYPICAL = 29

/**
 * 10 000 waiters that hold 300 leases: the longest time for which the loop stood still, and the 30th longest, in
 * milliseconds. The longest are often those of a machine that does something else.
 *
 * - `idle`: nothing looks (`nested: 'allow'`): what the machine and the garbage collector do by themselves
 * - `busy`: every holder shows signs of life, so the cheap look is taken again and again
 * - `knot`: nobody does, until the first waiter is rejected
 */
async function verdict(kind: 'idle' | 'busy' | 'knot'): Promise<number[]> {
  const pool = createPool(
    { create: () => ({}), destroy: () => {}, busy: () => kind === 'busy' },
    { max: LEASES, acquireTimeoutMillis: false, nested: kind === 'idle' ? 'allow' : 'detect' },
  )
  const never = new AbortController()
  const refused: Promise<unknown>[] = []
  const wait = (): Promise<unknown> => pool.acquire({ signal: never.signal })
  const share = (index: number): number => Math.floor((index * WAITERS) / LEASES)
  async function hold(index: number): Promise<void> {
    await Promise.all(Array.from({ length: share(index + 1) - share(index) }, wait))
  }
  let isBroken = false
  pool.on('deadlock', () => {
    isBroken = true
  })
  for (let index = 0; index < LEASES; index += 1)
    refused.push(pool.use(() => hold(index)).catch(() => undefined))
  while (pool.pending < WAITERS) await new Promise(resolve => setImmediate(resolve))
  const pauses: number[] = []
  let last = performance.now()
  const end = last + WATCHED_MILLIS
  while (last < end && !isBroken) {
    await new Promise(resolve => setImmediate(resolve))
    const now = performance.now()
    if (now - last > NOTHING) pauses.push(now - last)
    last = now
  }
  if (isBroken !== (kind === 'knot'))
    throw new Error(`a knot was ${isBroken ? '' : 'not '}found in '${kind}'`)
  pauses.sort((a, b) => b - a)
  return [pauses[0] ?? 0, pauses[TYPICAL] ?? 0]
}

const [what, ...rest] = process.argv.slice(2)
if (what === 'cycles') {
  const [nested, call, workers] = rest as ['allow' | 'detect', string, string]
  process.stdout.write(`${await cycles(nested, call, Number(workers))}`)
} else if (what === 'verdict') {
  process.stdout.write((await verdict(rest[0] as 'idle' | 'busy' | 'knot')).join(' '))
  process.exit(0)
} else {
  const measure = async (...args: string[]): Promise<number[]> => {
    const { stdout } = await run(process.execPath, [process.argv[1] as string, ...args], { timeout: 120_000 })
    return stdout.split(' ').map(Number)
  }
  process.stdout.write(`Node ${process.version}\n\n| | allow | detect | |\n| --- | --- | --- | --- |\n`)
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
  process.stdout.write('\n10 000 waiters on 300 leases: pauses of the loop, the least of the runs\n')
  for (const kind of ['idle', 'busy', 'knot'] as const) {
    const runs: number[][] = []
    for (let round = 0; round < ROUNDS; round += 1) runs.push(await measure('verdict', kind))
    const [longest, typical] = [0, 1].map(at =>
      Math.min(...runs.map(pauses => pauses[at] as number)).toFixed(2),
    )
    process.stdout.write(`${kind}: longest ${longest} ms, 30th longest ${typical} ms\n`)
  }
}
