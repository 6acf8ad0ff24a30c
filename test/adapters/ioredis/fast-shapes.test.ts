import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import type { Redis } from 'ioredis'
import { redisFactory } from '../../../src/adapters/ioredis/open-redis-pool.ts'
import { HANDLES, type HandleFactory } from '../../../src/connections/handles.ts'
import { withRedis } from '../../support/redis.ts'
import { versions } from './versions.ts'

setFlagsFromString('--allow-natives-syntax')
const isFast = new Function('object', 'return %HasFastProperties(object)') as (object: object) => boolean

const redis = await withRedis()
after(() => redis.stop())

for (const { name, Client } of versions) {
  describe(`${name}: what V8 makes of a pooled client`, { skip: redis.skip }, () => {
    test('the client, its socket and its queue stay fast objects: else every command of the user is slow', async () => {
      const factory = redisFactory(() => new Client({ port: redis.server.port, lazyConnect: true }) as Redis)
      const client = await factory.create(new AbortController().signal)
      const { stream, commandQueue } = client as unknown as Record<string, object>
      for (const [what, object] of Object.entries({ client, stream, commandQueue }))
        assert.ok(isFast(object as object), `${what} is a dictionary: has a property been deleted from it?`)
      const handles = (factory as HandleFactory<Redis>)[HANDLES]
      const handle = handles?.lend(client, {}) as Redis
      assert.ok(isFast(handle))
      assert.equal(handle.info, Client.prototype.info, 'INFO is the method of the class again')
      await factory.destroy(client)
    })
  })
}
