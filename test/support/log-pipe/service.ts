/*
 * Incident I1: a service whose stderr is a pipe that nobody reads. It lends and returns a connection so many times,
 * says a few lines about each, and wants to end.
 *
 *     node service.js plain       lines by process.stderr.write, as debug does it: kept in memory, can never end
 *     node service.js sync        lines by fs.writeSync, as synchronous loggers do it: stops dead once the pipe is full
 *     node service.js guarded     lines by the pool's own DEBUG=lifeguard-pool:* output
 *
 * Its last word, and its pulse every second, go to stdout as JSON.
 */
import { writeSync } from 'node:fs'
import { createPool } from '../../../src/index.ts'

const [way = 'guarded', cycles = '1000000'] = process.argv.slice(2)
const line = (cycle: number): string =>
  `SELECT * FROM heartbeats WHERE id = ${cycle} -- took 3 ms, 1 row, ok\n`
const say: Record<string, (cycle: number) => void> = {
  plain: cycle => process.stderr.write(line(cycle)),
  sync: cycle => writeAndWait(line(cycle)),
  guarded: () => {},
}
const speak = say[way]
if (speak === undefined) throw new Error(`plain, sync or guarded, not ${way}`)

const pool = createPool({ create: async () => ({}), destroy: async () => {} }, { max: 4, name: 'heartbeats' })
const most = Number(cycles)
const start = performance.now()
let highest = 0
for (let cycle = 0; cycle < most; cycle += 1) {
  const connection = await pool.acquire()
  speak(cycle)
  await pool.release(connection)
  if (cycle % 10_000 === 0) {
    // Other work gets its turn, as it would in a service.
    await new Promise(resolve => setImmediate(resolve))
    highest = Math.max(highest, process.memoryUsage.rss())
    if (cycle === 50_000 || cycle % 250_000 === 0) pulse(cycle)
  }
}
await pool.close()
pulse(most)

/** As synchronous loggers do it (sonic-boom, under pino): a full pipe is waited for, and the event loop with it. */
function writeAndWait(text: string): void {
  for (;;) {
    try {
      writeSync(2, text)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
    }
  }
}

function pulse(done: number): void {
  const { rss } = process.memoryUsage()
  const queued = process.stderr.writableLength
  const seconds = Math.round(performance.now() - start) / 1000
  writeSync(
    1,
    `${JSON.stringify({ way, done, seconds, rssMiB: mib(rss), highestMiB: mib(highest), queuedMiB: mib(queued) })}\n`,
  )
}

function mib(bytes: number): number {
  return Math.round(bytes / 2 ** 20)
}
