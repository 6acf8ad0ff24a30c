/* A service with three pools at work. Says its diagnostics socket on stdout; with 'no socket', only that it is there. */
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { serveDiagnostics } from '../../src/diagnostics/index.ts'
import { createPool } from '../../src/index.ts'

const working = new Set<object>()
const factory = {
  create: async () => ({}),
  destroy: async () => {},
  busy: (connection: object) => (working.has(connection) ? 'GET' : false),
}
const options = { captureStacks: 'all', acquireTimeoutMillis: 60_000 } as const

const cache = createPool(factory, { ...options, name: 'cache', max: 8 })
const orders = createPool(factory, { ...options, name: 'orders', max: 2, acquireTimeoutMillis: 700 })
const sessions = createPool(factory, { ...options, name: 'sessions', max: 4, leakThresholdMillis: 300 })

/** Short loans, again and again. */
async function readsCache(): Promise<void> {
  for (;;)
    await cache.use(async connection => {
      working.add(connection)
      await pause(5)
      working.delete(connection)
    })
}

/** All are lent for good, and others wait until their time is over. */
async function holdsOrders(): Promise<void> {
  working.add(await orders.acquire({ detached: true }))
}

async function waitsForOrders(): Promise<void> {
  for (;;) await orders.acquire({ detached: true }).catch(() => {})
}

async function forgetsSession(): Promise<void> {
  await sessions.acquire()
}

for (let reader = 0; reader < 5; reader += 1) void readsCache()
await Promise.all([holdsOrders(), holdsOrders(), forgetsSession()])
for (let waiter = 0; waiter < 3; waiter += 1) void waitsForOrders()

// From now on the session counts as forgotten.
await once(sessions, 'leak')

const [, , what = 'socket', ...more] = process.argv
const served =
  what === 'no socket' ? undefined : await serveDiagnostics(what === 'token' ? { token: more[0] ?? '' } : {})
// Nothing of them may be collected.
process.on('exit', () => [cache, orders, sessions].length)
process.on('message', (millis: number) => {
  const end = Date.now() + millis
  while (Date.now() < end);
})
process.stdout.write(`${served?.address ?? 'ready'}\n`)
