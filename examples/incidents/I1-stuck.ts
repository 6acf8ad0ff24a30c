/*
 * Incident I1 at its end: a service whose workers wait for their logger, with connections in their hands. What
 * `report()` says of that goes to stdout. Meant to be run with DEBUG=lifeguard-pool:* and a stderr that nobody reads.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { createPool } from '../../src/index.ts'

const pool = createPool(
  { create: async () => ({}), destroy: async () => {}, busy: () => false },
  {
    name: 'heartbeats',
    max: 3,
    captureStacks: 'all',
    leakThresholdMillis: 250,
    acquireTimeoutMillis: 5000,
  },
)
let unstick = (): void => {}
let logged: Promise<void> = Promise.resolve()

/** As a logger does it that waits for its pipe. */
async function writeLog(): Promise<void> {
  await logged
}

async function handleHeartbeat(): Promise<void> {
  const connection = await pool.acquire()
  await writeLog()
  await pool.release(connection)
}

// All is well, until the pipe is full.
for (let beat = 0; beat < 5000; beat += 1) {
  await handleHeartbeat()
  if (beat % 50 === 0) await pause(0)
}
logged = new Promise(resolve => {
  unstick = resolve
})
const workers = Array.from({ length: 10 }, handleHeartbeat)
await pause(600)
const report = pool.report()
unstick()
await Promise.all(workers)
await pool.close()
process.stdout.write(`${report}\n`)
