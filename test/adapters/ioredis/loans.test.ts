import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { type Handle, LOAN } from '../../../src/adapters/ioredis/handle/loan.ts'
import { isPoolError } from '../../../src/api/errors.ts'
import { countSockets } from '../../support/fds.ts'
import { Chance, seedFrom } from '../../support/random.ts'
import { withRedis } from '../../support/redis.ts'
import { soilings } from './commands-that-soil.ts'
import { poolOf, versions } from './versions.ts'

const redis = await withRedis({ maxclients: '1000' })
after(() => redis.stop())
const { skip } = redis

/** The full number takes some minutes: `npm run test:long`. */
const LOANS = process.env.LIFEGUARD_LONG ? 100_000 : 1000
const BORROWERS = 24

/** The client behind a handle. */
const clientOf = (handle: Redis): Redis =>
  (handle as unknown as Handle)[LOAN].lender.client as unknown as Redis

const listenersOf = (client: Redis): string =>
  client
    .eventNames()
    .map(event => `${String(event)}: ${client.listenerCount(event)}`)
    .join()

for (const { name, Client } of versions) {
  describe(`${name}: ${LOANS} loans with random leftovers`, { skip }, () => {
    test('no borrower ever gets the reply, the database, the listeners or the transaction of another', {
      timeout: 900_000,
    }, async t => {
      const chance = new Chance(seedFrom('LIFEGUARD_SEED'))
      const pool = poolOf(Client, { port: redis.server.port }, { max: 8 })
      const before = countSockets()?.sockets ?? 0
      let loans = 0
      let serial = 0
      let stale = 0
      const counted = { shifted: 0, leftovers: 0, combined: 0 }
      const wrong: string[] = []
      const check = (isRight: boolean, what: string): void => {
        if (!isRight && wrong.length < 20) wrong.push(what)
      }
      const retired: Redis[] = []
      const listening = new WeakMap<Redis, string>()

      /** A borrower sees that nothing is left of those before, and of their replies. */
      const look = async (client: Redis): Promise<string> => {
        check(client.eventNames().length === 0, 'listeners of another borrower')
        const { condition } = client
        check(condition?.select === 0 && !condition.subscriber, `condition ${JSON.stringify(condition)}`)
        const home = redis.key(`home:${serial}`)
        const tokens = Array.from({ length: 1 + chance.below(3) }, () => {
          serial += 1
          return `token ${serial}`
        })
        const echoes = await Promise.all(tokens.map(token => client.echo(token)))
        if (echoes.join() !== tokens.join()) counted.shifted += 1
        if (chance.oneIn(4)) {
          const info = String(await client.client('INFO'))
          // Its own CLIENT INFO would come as QUEUED within a MULTI, and tell of a database, a flag or a name.
          check(/ flags=N db=0 sub=0 psub=0 .*multi=-1 /.test(info) && / name= /.test(info), info)
        }
        // In another database, or within somebody's MULTI, this would fail.
        const reply = await client.multi().set(home, tokens.join(), 'PX', 60_000).get(home).exec()
        if (reply?.[1]?.[1] !== tokens.join()) counted.shifted += 1
        // What the pool itself listens to stays the same however often a client is lent.
        const base = clientOf(client)
        const own = listenersOf(base)
        check((listening.get(base) ?? own) === own, `the client has ${own}, and had ${listening.get(base)}`)
        listening.set(base, own)
        return home
      }

      const soil = async (client: Redis, home: string): Promise<void> => {
        client.on('message', () => {}).once('end', () => {})
        if (chance.oneIn(3)) {
          // Most loans leave nothing, or answers behind.
          if (chance.oneIn(3)) void client.echo('forgotten').catch(() => {})
          return
        }
        const kinds = chance.oneIn(3) ? 2 + chance.below(3) : chance.below(2)
        if (kinds > 0) counted.leftovers += 1
        if (kinds > 1) counted.combined += 1
        for (let kind = 0; kind < kinds; kind += 1) {
          await Promise.race([
            Promise.resolve(chance.pick(soilings).soil(client, home)).catch(() => {}),
            new Promise(resolve => setImmediate(resolve)),
          ]).catch(() => {})
        }
      }

      const borrower = async (): Promise<void> => {
        while (loans < LOANS) {
          loans += 1
          const client = await pool.acquire()
          await soil(client, await look(client))
          await (chance.oneIn(50) ? pool.destroy(client) : pool.release(client))
          retired.push(client)
          if (retired.length > 50) retired.shift()
          // Somebody who still holds a handle of his keeps using it.
          if (chance.oneIn(5)) {
            const error = await chance
              .pick(retired)
              .echo('stale')
              .catch(reason => reason)
            check(isPoolError(error, 'POOL_LEASE_ENDED'), `a stale handle: ${error}`)
            stale += 1
          }
        }
      }
      await Promise.all(Array.from({ length: BORROWERS }, borrower))
      assert.deepEqual([counted.shifted, wrong], [0, []], `LIFEGUARD_SEED=${chance.seed}`)
      assert.ok(stale > LOANS / 100 && counted.combined > LOANS / 10)
      const { totals, borrowed, pending } = pool.stats()
      assert.deepEqual([borrowed, pending], [0, 0])
      await pool.close()
      assert.equal(pool.stats().totals.created, pool.stats().totals.destroyed)
      assert.equal(countSockets()?.sockets ?? 0, before)
      assert.ok(totals.created > LOANS / 20, 'there were leftovers that cost a connection')
      t.diagnostic(
        `seed ${chance.seed}: ${loans} loans, ${counted.leftovers} with leftovers (${counted.combined} with several), ` +
          `${counted.shifted} replies shifted, ${stale} uses of stale handles refused, ${totals.created} connections`,
      )
    })
  })
}
