import type { RedisClient } from './client-types.ts'

/** The method with which Node asks an object how it wants to be printed. */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never

type Inspect = (value: unknown, options: unknown) => string

/** The part of a client that is fit for logs. Its other options are passwords, TLS keys and functions. */
function brief(client: RedisClient): object {
  const { host, port, path, db, name, sentinels } = client.options as Record<string, unknown>
  const target = sentinels ? { name } : path ? { path } : { host, port }
  return { status: client.status, ...target, db }
}

/**
 * Makes clients print briefly, also as JSON. Events of the pool contain clients. Code that logs them would otherwise
 * log the passwords that ioredis keeps in the options and in the state of a connection.
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
