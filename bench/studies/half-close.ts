import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { cpus } from 'node:os'
import { extname } from 'node:path'
import { socketFactory } from '../../src/adapters/net/factory.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import type { Pool } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { type Clock, systemClock } from '../../src/runtime/time/clock.ts'
import { checkSocket } from '../../src/sockets/conn-check.ts'
import { pollPhaseOf } from '../../src/sockets/poll-phase.ts'

/*
 * What the detection of half-closed connections costs. Run it on a quiet machine:
 *
 *     npm run compile && node .build/bench/studies/half-close.js [sockets for the sweep, default 10000]
 *
 * The sweep needs twice as many file descriptors as sockets (`ulimit -n`).
 */

const serverScript = new URL(`./half-close-server${extname(import.meta.url)}`, import.meta.url)
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const say = (line: string): void => void process.stdout.write(`${line}\n`)

const child = fork(serverScript, { execArgv: ['--no-warnings'] })
const [port] = (await once(child, 'message')) as [number]

function open(options: PoolOptions, clock: Clock = systemClock): Pool<Socket> {
  const factory = socketFactory({ host: '127.0.0.1', port })
  return openPool(factory, { fifo: false, ...options }, false, { clock, random: Math.random })
}

async function filled(count: number, options: PoolOptions, clock?: Clock): Promise<Pool<Socket>> {
  const pool = open({ max: count, acquireTimeoutMillis: false, ...options }, clock)
  const lent: Socket[] = []
  // A listen queue is short.
  while (lent.length < count) {
    const batch = Math.min(100, count - lent.length)
    lent.push(...(await Promise.all(Array.from({ length: batch }, () => pool.acquire()))))
  }
  for (const socket of lent) await pool.release(socket)
  await turn()
  await turn()
  return pool
}

/** CPU time of this process in microseconds: on a shared machine it says more than the time of day. */
const cpuMicros = (): number => {
  const { user, system } = process.cpuUsage()
  return user + system
}

let sink = 0
/** Work that a caller does with a connection: so many steps. */
function work(steps: number): void {
  for (let step = 0; step < steps; step += 1) sink = (sink * 31 + step) | 0
}

/** How many steps take so many microseconds. */
function stepsIn(micros: number): number {
  const steps = 2e7
  work(steps)
  const start = cpuMicros()
  work(steps)
  return Math.round((steps * micros) / (cpuMicros() - start))
}
const TEN_MICROS = stepsIn(9.5)

type Load = (pool: Pool<Socket>) => Promise<number>

/** Each lends connections for about 400 ms, so that what looks were saved up does not count, and returns how many. */
const LOADS: Readonly<Record<string, Load>> = {
  'one at a time, 10 µs of work each (100 000/s)': async pool => {
    let count = 0
    for (const end = performance.now() + 400; performance.now() < end; await turn()) {
      for (let i = 0; i < 100; i += 1, count += 1) {
        const socket = await pool.acquire()
        work(TEN_MICROS)
        await pool.release(socket)
      }
    }
    return count
  },
  'fifty lent at a time over a turn, 10 µs of work each (100 000/s)': async pool => {
    let count = 0
    const end = performance.now() + 400
    while (performance.now() < end) {
      const lent: Socket[] = []
      for (let i = 0; i < 50; i += 1, count += 1) {
        lent.push(await pool.acquire())
        work(TEN_MICROS)
      }
      await turn()
      for (const socket of lent) await pool.release(socket)
    }
    return count
  },
  'one at a time, no work, a turn every 100': async pool => {
    let count = 0
    for (const end = performance.now() + 400; performance.now() < end; await turn()) {
      for (let i = 0; i < 100; i += 1, count += 1) await pool.release(await pool.acquire())
    }
    return count
  },
  'one at a time, no work, never a turn': async pool => {
    let count = 0
    for (const end = performance.now() + 400; performance.now() < end; count += 1) {
      await pool.release(await pool.acquire())
    }
    return count
  },
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number

async function ratio(name: string, load: Load): Promise<void> {
  const [on, off] = [await filled(50, { halfClose: 'on' }), await filled(50, { halfClose: 'off' })]
  const times: Record<'on' | 'off', number[]> = { on: [], off: [] }
  const measure = async (which: 'on' | 'off', pool: Pool<Socket>): Promise<void> => {
    const start = cpuMicros()
    const count = await load(pool)
    times[which].push((cpuMicros() - start) / count)
  }
  for (let round = 0; round < 11; round += 1) {
    await measure('on', on)
    await measure('off', off)
  }
  const [a, b] = [median(times.on), median(times.off)]
  const { looks, gateSkips } = on.stats().halfClose
  say(`${name}`)
  say(
    `  on ${a.toFixed(3)} µs, off ${b.toFixed(3)} µs of CPU an acquire, ${((a / b - 1) * 100).toFixed(1)} % more; ` +
      `${((100 * looks) / (looks + gateSkips)).toFixed(1)} % looked at`,
  )
  await on.close()
  await off.close()
}

async function probes(): Promise<void> {
  const pool = await filled(1, {})
  const socket = await pool.acquire()
  for (const rounds of [20_000, 200_000]) {
    const start = performance.now()
    for (let i = 0; i < rounds; i += 1) checkSocket(socket)
    if (rounds > 100_000)
      say(`a look at the kernel: ${(((performance.now() - start) / rounds) * 1000).toFixed(2)} µs`)
  }
  const phase = pollPhaseOf(systemClock)
  for (const shared of [1, 1000]) {
    const rounds = 20_000 / Math.sqrt(shared)
    const start = performance.now()
    for (let i = 0; i < rounds; i += 1) {
      await new Promise<void>(resolve => {
        for (let k = 1; k < shared; k += 1) phase.barrier(() => {}, false)
        phase.barrier(resolve, false)
      })
    }
    const each = ((performance.now() - start) / rounds / shared) * 1000
    say(`a barrier shared by ${shared}: ${each.toFixed(2)} µs each`)
  }
  await pool.release(socket)
  await pool.close()
}

async function sweep(count: number): Promise<void> {
  const runs: number[] = []
  const clock: Clock = {
    ...systemClock,
    after: (millis, run) =>
      systemClock.after(millis, () => {
        const start = performance.now()
        run()
        runs.push(performance.now() - start)
      }),
  }
  const pool = await filled(count, {}, clock)
  const before = pool.stats().halfClose.looks
  runs.length = 0
  const start = performance.now()
  const cpu = process.cpuUsage()
  while (pool.stats().halfClose.looks - before < count) await new Promise(resolve => setTimeout(resolve, 20))
  const { user, system } = process.cpuUsage(cpu)
  const seconds = (performance.now() - start) / 1000
  const busy = runs.reduce((sum, millis) => sum + millis, 0)
  const sorted = [...runs].sort((a, b) => a - b)
  say(
    `a sweep past ${count} sockets: ${seconds.toFixed(1)} s, ${((busy / count) * 1000).toFixed(2)} µs a socket, ` +
      `${((100 * busy) / seconds / 1000).toFixed(2)} % of the loop (process: ${((user + system) / 1e4 / seconds).toFixed(1)} %); ` +
      `batches: median ${median(runs).toFixed(2)} ms, longest ${(sorted.at(-1) ?? 0).toFixed(2)} ms`,
  )
  await pool.close()
}

say(`Node ${process.version}, ${cpus()[0]?.model}, ${cpus().length} cores`)
try {
  for (const [name, load] of Object.entries(LOADS)) await ratio(name, load)
  await probes()
  await sweep(Number(process.argv[2] ?? 10_000))
} finally {
  child.kill()
}
