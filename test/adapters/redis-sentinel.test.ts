import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { ensureRedisBinary } from '../../examples/support/redis-server.ts'
import { eventually } from '../support/factories.ts'
import { startFleet } from '../support/sentinels.ts'
import { poolOf, versions } from './versions.ts'

const binary = await ensureRedisBinary()
const skip = 'missing' in binary && binary.missing

/** What a load of writers has seen. */
interface Load {
  readonly errors: Map<string, number>
  /** When writes have succeeded, and on which port. */
  readonly writes: { readonly at: number; readonly port: number }[]
  readonly hung: () => number
  stop(): Promise<void>
}

const BORROWERS = 16

function startLoad(pool: ReturnType<typeof poolOf>): Load {
  const errors = new Map<string, number>()
  const writes: { at: number; port: number }[] = []
  let running = true
  let serial = 0
  const open = new Set<number>()
  const borrower = async (): Promise<void> => {
    while (running) {
      serial += 1
      const mine = serial
      open.add(mine)
      try {
        await pool.use(async client => {
          const port = client.stream.remotePort as number
          await client.set(`key:${mine % 1000}`, mine)
          writes.push({ at: performance.now(), port })
        })
      } catch (error) {
        const { code, name, message } = error as Error & { code?: string }
        const what = code ?? `${name}: ${message.slice(0, 60)}`
        errors.set(what, (errors.get(what) ?? 0) + 1)
      }
      open.delete(mine)
      await pause(2)
    }
  }
  const all = Promise.all(Array.from({ length: BORROWERS }, borrower))
  return {
    errors,
    writes,
    hung: () => open.size,
    async stop() {
      running = false
      await all
    },
  }
}

for (const [index, { name, Client }] of versions.entries()) {
  describe(`${name}: by way of three sentinels`, { skip, timeout: 120_000 }, () => {
    const both = ['SIGKILL', 'SIGSTOP'] as const
    // Five seconds each: every combination is for `npm run test:long`.
    for (const signal of process.env.LIFEGUARD_LONG ? both : [both[index] as 'SIGKILL' | 'SIGSTOP']) {
      test(`the primary is lost by ${signal} under load: no caller hangs, and no write goes to it after the switch`, async t => {
        const fleet = await startFleet()
        const pool = poolOf(
          Client,
          { sentinels: fleet.sentinels.map(({ host, port }) => ({ host, port })), name: fleet.name },
          { max: 8, acquireTimeoutMillis: 15_000 },
        )
        const generations: string[] = []
        pool.on('destroy', ({ reason, detail }) => {
          if (reason === 'generation') generations.push(detail ?? '')
        })
        const load = startLoad(pool)
        const listener = new Redis(fleet.sentinels[2]?.port as number, { enableReadyCheck: false })
        listener.on('error', () => {})
        let switchedAt = Number.POSITIVE_INFINITY
        await listener.subscribe('+switch-master')
        listener.on('message', () => {
          switchedAt = Math.min(switchedAt, performance.now())
        })
        try {
          await eventually(() => load.writes.length > 200)
          const lostAt = performance.now()
          fleet.primary.child.kill(signal)
          await eventually(() => load.writes.some(({ port }) => port === fleet.replica.port), {
            within: 30_000,
            what: 'writes go to the new primary',
          })
          const recoveredAt = performance.now()
          fleet.primary.child.kill('SIGCONT')
          const written = load.writes.length
          await eventually(() => load.writes.length > written + 500, { within: 10_000 })
          await load.stop()
          assert.equal(load.hung(), 0)
          // Half a second: the listener of the test and the pool hear of the switch from different sentinels.
          const late = load.writes.filter(
            ({ at, port }) => port === fleet.primary.port && at > switchedAt + 500,
          )
          assert.deepEqual(late, [])
          for (const what of load.errors.keys()) {
            assert.match(
              what,
              /^POOL_|^ECONN|^EPIPE|Connection is closed|isn't writeable/,
              'each failure has a name',
            )
          }
          assert.ok(generations.length > 0 || signal === 'SIGKILL')
          t.diagnostic(
            `recovered after ${Math.round(recoveredAt - lostAt)} ms, ${Math.round(recoveredAt - switchedAt)} ms ` +
              `behind the switch; errors: ${JSON.stringify([...load.errors])}`,
          )
        } finally {
          await load.stop()
          listener.disconnect()
          fleet.primary.child.kill('SIGCONT')
          await pool.close().catch(() => {})
          await fleet.stop()
        }
      })
    }
  })
}

describe('the watch over sentinels', { skip, timeout: 60_000 }, () => {
  test('goes on when its sentinel dies, is one for the pool, and ends with its connections', async () => {
    const fleet = await startFleet()
    try {
      const pool = poolOf(
        Redis,
        { sentinels: fleet.sentinels.map(({ host, port }) => ({ host, port })), name: fleet.name },
        { max: 5 },
      )
      const clients = await Promise.all([1, 2, 3, 4, 5].map(() => pool.acquire()))
      await Promise.all(clients.map(client => pool.release(client)))
      const subscribers = async (at: number): Promise<number> => {
        const asking = new Redis(fleet.sentinels[at]?.port as number, {
          enableReadyCheck: false,
          retryStrategy: null,
        })
        asking.on('error', () => {})
        try {
          const list = (await asking.call('CLIENT', 'LIST', 'TYPE', 'PUBSUB')) as string
          return list.split('\n').filter(line => line.includes('lib-name=ioredis') || /sub=1 /.test(line))
            .length
        } finally {
          asking.disconnect()
        }
      }
      await eventually(async () => (await subscribers(0)) === 1, { what: 'one listens to the first' })
      assert.equal((await subscribers(1)) + (await subscribers(2)), 0)
      process.kill(fleet.sentinels[0]?.pid as number, 'SIGKILL')
      await eventually(async () => (await subscribers(1)) === 1, {
        within: 5000,
        what: 'it moves to the second',
      })
      const admin = new Redis(fleet.sentinels[1]?.port as number, { enableReadyCheck: false })
      const before = pool.stats().generation
      await admin.call('SENTINEL', 'FAILOVER', fleet.name)
      await eventually(() => pool.stats().generation === before + 1, {
        within: 20_000,
        what: 'it hears of a switch',
      })
      admin.disconnect()
      await eventually(
        () => pool.use(client => client.stream.remotePort === fleet.replica.port).catch(() => false),
        { within: 10_000 },
      )
      await pool.close()
      await eventually(async () => (await subscribers(1)) === 0)
    } finally {
      await fleet.stop()
    }
  })
})
