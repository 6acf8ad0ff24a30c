import type { Socket } from 'node:net'
import { guardedPool, type SocketPool, silentServer } from '../contenders/guards.ts'
import type { Figure, Scene } from './scene.ts'
import { cpuMicros, heapUsed, longestPause, perOperation, turn } from './timing.ts'

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
    lent.push(...(await Promise.all(Array.from({ length: batch }, () => pool.acquire()))))
  }
  for (const socket of lent) await pool.release(socket)
  await turn()
  await turn()
}

interface Looking {
  stats(): { halfClose: { looks: number } }
}

/** A round of the sweep past all idle sockets, as long as no peer has gone. */
async function sweep(pool: Looking, count: number): Promise<{ micros: number; pause: number }> {
  const looks = (): number => pool.stats().halfClose.looks
  // From the end of one round to the end of the next: idle time in between costs next to nothing.
  const round = async (): Promise<void> => {
    const before = looks()
    while (looks() - before < count) await new Promise(resolve => setTimeout(resolve, 20))
  }
  await round()
  const start = cpuMicros()
  await round()
  const micros = (cpuMicros() - start) / count
  // The watch over the loop spins, so it has a round of its own.
  return { micros, pause: await longestPause(round) }
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
    if ('stats' in pool) {
      const { micros, pause } = await sweep(pool as unknown as Looking, count)
      figures.push(
        { row: 'a round of the sweep, CPU per socket', unit: 'µs', value: micros },
        { row: 'sweep: longest pause of the loop', unit: 'ms', value: pause },
      )
    }
    server.stop()
    return figures
  },
}

export const SOCKETS: Readonly<Record<string, Scene>> = { '10 000 connections': sockets }
