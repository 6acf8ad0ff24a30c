import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { createSimulation } from '../../src/testing/index.ts'
import { simulatedRedis } from './simulated-redis.ts'

describe('ioredis in a simulated world', () => {
  test('an hour with an idle limit, a restart and a partition passes at once', async () => {
    const world = createSimulation()
    const { server, redis } = simulatedRedis(world)
    server.idleLimitMillis = 90_000
    await world.run(async () => {
      const pool = createRedisPool(redis, { max: 3, min: 1 })
      let failures = 0
      for (let minute = 0; minute < 60; minute += 1) {
        if (minute === 20) server.restart(5000)
        if (minute === 40) {
          server.partition()
          world.after(20_000, () => server.heal())
        }
        const wait = pool.use(client => client.incr('minutes'), { timeoutMillis: 2000 })
        await wait.catch(() => {
          failures += 1
        })
        await world.sleep(60_000)
      }
      assert.ok(failures <= 2, `${failures} failures`)
      assert.ok(Number(await pool.use(client => client.get('minutes'))) >= 58)
      await pool.close()
      await world.sleep(1000)
      assert.equal(server.peers.size, 0)
    })
  })

  for (const [fault, still] of [
    ['endAll', 'block'],
    ['resetAll', 'block'],
    ['kill', 'block'],
    ['endAll', 'suspend'],
    ['resetAll', 'suspend'],
  ] as const) {
    test(`a client that the server has ended (${fault}, ${still}) while the loop stood still is not lent, whenever that was`, async () => {
      // From before the first packet to after the last reply of the handshake.
      for (let quarter = 0; quarter < 60; quarter += 1) {
        const world = createSimulation({ seed: quarter })
        const { server, redis } = simulatedRedis(world)
        await world.run(async () => {
          const pool = createRedisPool(redis, { max: 4 })
          let endedAt = Number.POSITIVE_INFINITY
          const late: unknown[] = []
          const loans = Array.from({ length: 4 }, () =>
            pool.use(async client => {
              const isLater = world.now > endedAt
              await client.ping().catch(error => isLater && late.push(error))
            }),
          )
          await world.sleep(quarter / 4)
          world.after(20, () => server[fault]())
          world.after(60, () => server.start())
          world[still](100)
          endedAt = world.now - 1
          await Promise.all(loans.map(loan => loan.catch(error => late.push(error))))
          assert.deepEqual(late, [], `after ${quarter / 4} ms`)
          await pool.close()
        })
      }
    })
  }
})
