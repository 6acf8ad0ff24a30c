import type { RedisClient } from './client-types.ts'

/** By which Node asks an object how it wants to be shown. */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never

type Inspect = (value: unknown, options: unknown) => string

/** What of a client is for logs. The rest of its options are passwords, keys of TLS, and functions. */
function brief(client: RedisClient): object {
  const { host, port, path, db, name, sentinels } = client.options as Record<string, unknown>
  const target = sentinels ? { name } : path ? { path } : { host, port }
  return { status: client.status, ...target, db }
}

/**
 * Events of the pool carry its clients, and whoever logs them would log the passwords that ioredis keeps in the options
 * and in the state of a connection. So a client is shown in brief, also as JSON.
 */
export const SHOWN_BRIEFLY: PropertyDescriptorMap = {
  [INSPECT]: {
    value(this: RedisClient, _depth: number, options: unknown, inspect: Inspect): string {
      return `Redis ${inspect(brief(this), options)}`
    },
    writable: true,
    configurable: true,
  },
  toJSON: {
    value(this: RedisClient): object {
      return brief(this)
    },
    writable: true,
    configurable: true,
  },
}
