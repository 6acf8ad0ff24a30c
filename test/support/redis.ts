import { randomUUID } from 'node:crypto'
import {
  ensureRedisBinary,
  type RedisArguments,
  type RedisServer,
  type RedisServerOptions,
  startRedis,
} from './redis-server.ts'

/** A real Redis for a test file, or the reason why there is none. */
export interface TestRedis {
  /** For the options of `test` or `describe`: false, or why the test cannot run. */
  skip: string | false
  /** Throws where `skip` says that there is none. */
  url: string
  /** The server started for this file; throws where there is none, as with REDIS_URL. */
  server: RedisServer
  /** A key of this file's own: a server from REDIS_URL is shared and not to be flushed. */
  key(name: string): string
  stop(): Promise<void>
}

function testRedis(skip: string | false, url: string, server: RedisServer | undefined): TestRedis {
  const prefix = `lifeguard-test:${randomUUID()}:`
  const none = (what: string) => new Error(`no ${what}: ${skip || 'the server comes from REDIS_URL'}`)
  return {
    skip,
    get url() {
      if (skip) throw none('url')
      return url
    },
    get server() {
      if (server === undefined) throw none('server of its own')
      return server
    },
    key: name => prefix + name,
    stop: async () => server?.stop(),
  }
}

/**
 * A redis-server started with these arguments; REDIS_URL instead, when there is no binary and no special wish.
 *
 * @example
 * const redis = await withRedis()
 * after(() => redis.stop())
 * test('...', { skip: redis.skip }, async () => connect(redis.url))
 */
export async function withRedis(args?: RedisArguments, options?: RedisServerOptions): Promise<TestRedis> {
  const binary = await ensureRedisBinary()
  if ('path' in binary) {
    const server = await startRedis(args, options)
    return testRedis(false, server.url, server)
  }
  const { REDIS_URL: url } = process.env
  if (url && args === undefined && options === undefined) return testRedis(false, url, undefined)
  return testRedis(binary.missing, '', undefined)
}
