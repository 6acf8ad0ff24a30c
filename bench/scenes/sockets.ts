import type { Socket } from 'node:net'
import { guardedPool, type SocketPool, silentServer } from '../contenders/guards.ts'
import type { Figure, Scene } from './scene.ts'
import { callers, cpuMicros, heapUsed, longestPause, perOperation, turn } from './timing.ts'

/** Of the 10 000 as many as this process may have open. */
function most(): number {
  const report = process.report?.getReport() as
    | { userLimits?: { open_files?: { soft?: unknown } } }
    | undefined
  const soft = report?.userLimits?.open_files?.soft
  return typeof soft === 'number' ? Math.min(10_000, soft - 200) : 10_000
}

async function fill(pool: SocketPool, count: number): Promise<void> {
  const lent: Socket[] = []
  // A listen queue is short.
  while (lent.length < count) {
    const batch = Math.min(200, count - lent.length)
    lent.push(...(await callers(batch, () => pool.acquire())))
  }
  for (const socket of lent) await pool.release(socket)
  await turn()
  await turn()
}

interface Looking {
  stats(): { halfClose: { looks: number } }
}

const WATCHED_MILLIS = 3000

/** What the sweep costs while nobody asks for anything: CPU time for a socket, and the longest pause of the loop. */
async function sweep(pool: Looking): Promise<Figure[]> {
  const looks = (): number => pool.stats().halfClose.looks
  const rest = () => new Promise(resolve => setTimeout(resolve, WATCHED_MILLIS))
  const [before, cpu] = [looks(), cpuMicros()]
  await rest()
  const micros = cpuMicros() - cpu
  const seen = looks() - before
  return [
    { row: 'sweep: sockets looked at', unit: '/s', value: (seen * 1000) / WATCHED_MILLIS },
    { row: 'sweep: CPU for a socket', unit: 'µs', value: micros / seen },
    { row: 'sweep: share of a core', unit: '%', value: micros / WATCHED_MILLIS / 10 },
    // The watch over the loop spins, so it has a time of its own.
    { row: 'sweep: longest pause of the loop', unit: 'ms', value: await longestPause(rest) },
  ]
}

const sockets: Scene = {
  group: '10 000 connections over loopback',
  contenders: ['generic-pool', 'all defaults'],
  rounds: 2,
  patience: 60_000,
  async run(contender, quick) {
    const count = quick ? 1000 : most()
    const server = await silentServer()
    const pool = guardedPool(contender, server.port, count)
    const before = heapUsed()
    const start = cpuMicros()
    await fill(pool, count)
    const opened = (cpuMicros() - start) / count
    const bytes = (heapUsed() - before) / count
    const { value } = await perOperation(async loans => {
      for (let done = 0; done < loans; done += 1) {
        pool.release(await pool.acquire())
        if (done % 20 === 0) await turn()
      }
    })
    const figures: Figure[] = [
      { row: 'connect, each', unit: 'µs', value: opened },
      { row: 'heap of an idle connection, its socket included', unit: 'B', value: bytes },
      { row: 'acquire+release, a turn of the loop every 20', unit: 'ns', value },
    ]
    if ('stats' in pool) figures.push(...(await sweep(pool as unknown as Looking)))
    server.stop()
    return figures
  },
}

export const SCENES: Readonly<Record<string, Scene>> = { '10 000 connections': sockets }
