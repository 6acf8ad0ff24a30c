import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { streamOf } from '../../../src/adapters/ioredis/client/client.ts'
import { type Handle, LOAN } from '../../../src/adapters/ioredis/handle/loan.ts'
import { withRedis } from '../../support/redis.ts'
import { poolOf, rejection, versions } from './versions.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

/** What the borrower does in the step in which its stream has ended, and the client does not know yet. */
const STEPS: Record<string, (client: Redis) => Promise<unknown>> = {
  'a command': client => client.get('key'),
  'a script': client => client.eval('return 1', 0),
  'a transaction': client => client.multi().get('key').exec(),
}

for (const { name, Client } of versions)
  describe(`${name}: between the end of a stream and its close`, { skip }, () => {
    for (const [what, step] of Object.entries(STEPS))
      test(`${what} is told that the connection is closed, and not of an option that the pool has set`, async () => {
        const pool = poolOf(Client, { port: redis.server.port }, { max: 1 })
        const lease = await pool.lease()
        const { client } = (lease.resource as unknown as Handle)[LOAN].lender
        streamOf(client)?.end()
        const error = await rejection(step(lease.resource))
        const said = [
          String(error),
          ...((error as { previousErrors?: unknown[] }).previousErrors ?? []).map(String),
        ]
        assert.match(said.join(), /Connection is closed|EXECABORT/)
        assert.doesNotMatch(said.join(), /enableOfflineQueue/)
        await lease.release()
        await pool.close()
      })
  })
