import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { isPoolError } from '../../src/errors.ts'
import { countSockets } from '../support/fds.ts'
import { Chance, seedFrom } from '../support/random.ts'
import { withRedis } from '../support/redis.ts'
import { soilings } from './soilings.ts'
import { poolOf, versions } from './versions.ts'

const redis = await withRedis({ maxclients: '1000' })
after(() => redis.stop())
const { skip } = redis

/** The full number takes ten minutes: `npm run test:long`. */
const LOANS = process.env.LIFEGUARD_LONG ? 100_000 : 2000
const BORROWERS = 24

for (const { name, Client } of versions) {
  describe(`${name}: ${LOANS} loans with random leftovers`, { skip }, () => {
    test('no borrower ever gets the reply, the database or the transaction of another', {
      timeout: 900_000,
    }, async () => {
      const chance = new Chance(seedFrom('LIFEGUARD_SEED'))
      const pool = poolOf(Client, { port: redis.server.port }, { max: 8 })
      const before = countSockets()?.sockets ?? 0
      let loans = 0
      let serial = 0
      let shifted = 0
      let stale = 0
      const retired: Redis[] = []

      const borrow = async (client: Redis): Promise<void> => {
        const home = redis.key(`home:${serial}`)
        const tokens = Array.from({ length: 1 + chance.below(3) }, () => {
          serial += 1
          return `token ${serial}`
        })
        const echoes = await Promise.all(tokens.map(token => client.echo(token)))
        if (echoes.join() !== tokens.join()) shifted += 1
        // In another database, or within somebody's MULTI, this would fail.
        const reply = await client.multi().set(home, tokens.join(), 'PX', 60_000).get(home).exec()
        if (reply?.[1]?.[1] !== tokens.join()) shifted += 1
        if (client.condition?.select !== 0 || client.condition.subscriber) shifted += 1
        if (chance.next() < 0.3) {
          await Promise.race([
            Promise.resolve(chance.pick(soilings).soil(client, home)).catch(() => {}),
            new Promise(resolve => setImmediate(resolve)),
          ])
        } else if (chance.oneIn(5)) void client.echo('forgotten').catch(() => {})
      }

      const borrower = async (): Promise<void> => {
        while (loans < LOANS) {
          loans += 1
          const client = await pool.acquire()
          await borrow(client)
          await (chance.oneIn(50) ? pool.destroy(client) : pool.release(client))
          retired.push(client)
          if (retired.length > 50) retired.shift()
          // Somebody who still holds a handle of his keeps using it.
          if (chance.oneIn(5)) {
            const error = await chance
              .pick(retired)
              .echo('stale')
              .catch(reason => reason)
            if (isPoolError(error, 'POOL_LEASE_ENDED')) stale += 1
            else shifted += 1
          }
        }
      }
      await Promise.all(Array.from({ length: BORROWERS }, borrower))
      assert.equal(shifted, 0, `seed ${chance.seed}`)
      assert.ok(stale > LOANS / 100)
      const { totals, borrowed, pending } = pool.stats()
      assert.deepEqual([borrowed, pending], [0, 0])
      await pool.close()
      assert.equal(pool.stats().totals.created, pool.stats().totals.destroyed)
      assert.equal(countSockets()?.sockets ?? 0, before)
      assert.ok(totals.created > LOANS / 20, 'there were leftovers that cost a connection')
    })
  })
}
