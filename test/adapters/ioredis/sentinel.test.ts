import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { eventually } from '../../support/factories.ts'
import { startFixedAddress, startLoad, watchWrites } from '../../support/redis-load.ts'
import { ensureRedisBinary, startRedis } from '../../support/redis-server.ts'
import { startFleet } from '../../support/sentinels.ts'
import { poolOf, versions } from './versions.ts'

const binary = await ensureRedisBinary()
const skip = 'missing' in binary && binary.missing
const host = '127.0.0.1'

/** Half a second: the test and the pool hear of a switch from different sentinels, one after the other. */
const LATE_MILLIS = 500

/** Whatever a borrower gets for a command that a failover has cost must say what happened. */
const NAMED =
  /^POOL_FAILOVER$|^POOL_UNHEALTHY$|^POOL_ACQUIRE_TIMEOUT$|^READONLY$|^UNBLOCKED$|^LOADING$|^MASTERDOWN$|Connection is closed|isn't writeable/

/** What happens to the primary. `FAILOVER`: the sentinels are asked to replace it, and it goes on as a replica. */
const fates = ['SIGKILL', 'SIGSTOP', 'FAILOVER'] as const

for (const [index, { name, Client }] of versions.entries()) {
  describe(`${name}: by way of three sentinels`, { skip, timeout: 180_000 }, () => {
    // Five seconds each: every combination is for `npm run test:long`.
    for (const fate of fates.filter((_, at) => process.env.LIFEGUARD_LONG || at % 2 === index)) {
      test(`the primary is lost by ${fate} under load: no caller hangs, and no write goes to it after the switch`, async t => {
        const fleet = await startFleet()
        const { primary, replica } = fleet
        const pool = poolOf(
          Client,
          { sentinels: fleet.sentinels.map(({ host, port }) => ({ host, port })), name: fleet.name },
          { max: 8, acquireTimeoutMillis: 15_000 },
        )
        let generations = 0
        pool.on('destroy', ({ reason }) => {
          if (reason === 'generation') generations += 1
        })
        const load = startLoad(work => pool.use(work))
        const asked = new Redis(fleet.sentinels[2]?.port as number, { enableReadyCheck: false })
        const listener = asked.duplicate()
        listener.on('error', () => {})
        let switchedAt = Number.POSITIVE_INFINITY
        await listener.subscribe('+switch-master')
        listener.on('message', () => {
          switchedAt = Math.min(switchedAt, performance.now())
        })
        const old = await watchWrites(primary.port)
        try {
          await eventually(() => load.writes.length > 200)
          const lostAt = performance.now()
          if (fate === 'FAILOVER') await asked.call('SENTINEL', 'FAILOVER', fleet.name)
          else primary.child.kill(fate)
          await eventually(() => load.writes.some(({ port }) => port === replica.port), {
            within: 30_000,
            what: 'writes go to the new primary',
          })
          const recoveredAt = performance.now()
          // It wakes up, and carries out what lies in its sockets, before the sentinels make it a replica.
          primary.child.kill('SIGCONT')
          const written = load.writes.length
          await eventually(() => load.writes.length > written + 500, { within: 10_000 })
          assert.equal(load.hung(1000), 0)
          assert.equal(await load.stop(), true, 'every caller has had an answer')
          const late = load.writes.filter(
            ({ at, port }) => port === primary.port && at > switchedAt + LATE_MILLIS,
          )
          assert.deepEqual(late, [])
          const sentLate = [...old.serials].filter(
            serial => (load.sentAt[serial] as number) > switchedAt + LATE_MILLIS,
          )
          const replicated = new Set(
            load.writes.filter(({ port }) => port === replica.port).map(({ serial }) => serial),
          )
          assert.deepEqual(
            sentLate.filter(serial => !replicated.has(serial)),
            [],
            'the old primary has carried out none itself',
          )
          for (const what of load.errors.keys()) assert.match(what, NAMED, 'each failure has a name')
          assert.ok(generations > 0 || fate === 'SIGKILL')
          t.diagnostic(
            `recovered after ${Math.round(recoveredAt - lostAt)} ms, ${Math.round(recoveredAt - switchedAt)} ms ` +
              `behind the switch; longest wait ${Math.round(load.longestMillis)} ms; errors: ${JSON.stringify([...load.errors])}`,
          )
        } finally {
          await load.stop(100)
          old.stop()
          asked.disconnect()
          listener.disconnect()
          primary.child.kill('SIGCONT')
          await pool.close().catch(() => {})
          await fleet.stop()
        }
      })
    }
  })

  describe(`${name}: behind an address that stays`, { skip, timeout: 60_000 }, () => {
    test('REPLICAOF under load: what the old primary refuses has a name, it gets no second write, and all move on', async t => {
      const [before, next] = await Promise.all([startRedis(), startRedis()])
      const fixed = await startFixedAddress(before.port)
      const admin = [new Redis(before.port), new Redis(next.port)] as const
      const pool = poolOf(Client, { port: fixed.port }, { max: 8 })
      const load = startLoad(work => pool.use(work), fixed.targetOf)
      try {
        await eventually(() => load.writes.length > 200)
        fixed.target = next.port
        await admin[0].replicaof(host, next.port)
        const changedAt = performance.now()
        const moved = () => load.writes.filter(({ port }) => port === next.port)
        await eventually(() => moved().length > 500, { within: 10_000 })
        assert.equal(await load.stop(), true, 'every caller has had an answer')
        assert.deepEqual(
          load.writes.filter(
            ({ port, serial }) => port === before.port && (load.sentAt[serial] as number) > changedAt,
          ),
          [],
        )
        // Those that had a connection when it happened, and nobody after them.
        const failures = [...load.errors.values()].reduce((sum, times) => sum + times, 0)
        assert.deepEqual(
          [...load.errors.keys()].filter(what => what !== 'READONLY'),
          [],
        )
        assert.ok(failures <= 8, `${failures}`)
        assert.equal(pool.stats().generation, 1)
        t.diagnostic(
          `recovered after ${Math.round((moved()[0]?.at ?? 0) - changedAt)} ms; errors: ${JSON.stringify([...load.errors])}`,
        )
      } finally {
        await load.stop(100)
        for (const client of admin) client.disconnect()
        await pool.close().catch(() => {})
        await fixed.stop()
        await Promise.all([before.stop(), next.stop()])
      }
    })
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
        within: 10_000,
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
