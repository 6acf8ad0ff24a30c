import type { RedisOptions } from 'ioredis'
import { messageOf } from '../../../api/errors.ts'
import { breaches, KNOWN, millis, type Rule, whole, wholeTo } from '../../../api/option-table.ts'
import { isRecord, readField, readRecord, show } from '../../../api/read-input.ts'
import { badOptions } from '../../../api/resolve-options.ts'
import { isRedisClient, setDisconnectTimeout } from './client.ts'
import type { RedisClient } from './client-types.ts'
import type { Credentials } from './credentials.ts'
import { foreignOptions, unheededOptions } from './foreign-options.ts'

/** How long a client that a borrower ends by `disconnect()` waits for the server to close. Milliseconds. */
const DISCONNECT_MILLIS = 100

interface Forced {
  readonly value: unknown
  readonly why: string
  /** It is ioredis's default as well, so that any other value is the user's wish, wherever it is found. */
  readonly usual?: true
}

/** Options that a pooled client cannot do without. */
const FORCED: Readonly<Record<string, Forced>> = {
  lazyConnect: {
    value: true,
    why: 'the pool decides when to connect, and must hear of every error from the start',
  },
  retryStrategy: {
    value: null,
    why: 'a client that reconnects by itself loses its WATCH or MULTI without a word; the pool replaces it instead',
  },
  reconnectOnError: { value: null, why: 'the pool replaces connections, they do not reconnect', usual: true },
  enableOfflineQueue: {
    value: false,
    why: 'a command on a dead connection must fail, not wait for a reconnect',
  },
  autoResubscribe: { value: false, why: 'there is no reconnect after which to subscribe' },
  autoResendUnfulfilledCommands: {
    value: false,
    why: 'a command may have run already; only its caller can tell',
  },
  maxRetriesPerRequest: { value: 0, why: 'there is no reconnect to wait for' },
  enableAutoPipelining: { value: false, why: 'it moves commands past MULTI and WATCH', usual: true },
  enableReadyCheck: { value: true, why: 'a server that still loads its data must not be lent', usual: true },
  disconnectTimeout: { value: DISCONNECT_MILLIS, why: 'it holds the process while a connection closes' },
  sentinelRetryStrategy: { value: null, why: 'the pool retries, with backoff, and knows its deadline' },
  failoverDetector: {
    value: false,
    why: 'it connects to every sentinel, for each pooled client',
    usual: true,
  },
  monitor: { value: false, why: 'a connection that monitors takes no commands', usual: true },
}

/** Options of a client that sends nothing but AUTH and SELECT by itself. */
const TERSE = { protocol: 2, disableClientInfo: true, enableReadyCheck: false, connectionName: null }

/** Options that the pool sets unless the user does. Times are in milliseconds. */
const DEFAULTS: RedisOptions = {
  // A silent death of an idle connection is noticed within 20 s. ioredis has 0 in version 5: the system's two hours.
  keepAlive: 10_000,
  noDelay: true,
  // Off: `createTimeoutMillis` bounds the handshake too, and is fair after a stall of the event loop.
  connectTimeout: 0,
  // While the server loads its data, ioredis asks again this often, on a timer that holds the process.
  maxLoadingRetryTime: 200,
  // A sentinel that accepts and stays silent would otherwise keep its connection for ever.
  sentinelCommandTimeout: 2000,
}

/** ioredis merges the arguments of its constructor, objects and URLs; the first to name an option wins. */
export type RedisClass<R extends RedisClient> = new (...layers: never[]) => R

/**
 * What makes an unconnected client from the user's options.
 *
 * @throws PoolError `POOL_BAD_OPTIONS` that lists every conflict with what a pooled client needs
 */
export function clientMaker<R extends RedisClient>(
  Client: RedisClass<R>,
  given: unknown,
  hasCredentials = false,
): (credentials?: Credentials) => R {
  const issues = wrongTarget(given)
  if (issues.length > 0) throw badOptions(issues)
  const user = isRecord(given) ? readRecord(given, undefined, issues) : given
  issues.push(...conflicts(named(user)), ...misplaced(named(user)), ...foreignOptions(named(user)))
  const forced = Object.fromEntries(Object.entries(FORCED).map(([name, { value }]) => [name, value]))
  const Layered = Client as unknown as new (...layers: readonly unknown[]) => R
  let own: Readonly<Record<string, unknown>> = {}
  try {
    // Does not connect, and is dropped: a URL that cannot be read is refused now, and not by every acquire.
    own = { ...new Layered({ lazyConnect: true }, user).options, lazyConnect: false }
  } catch (error) {
    issues.push(`ioredis refuses the options: ${messageOf(error)}`)
  }
  issues.push(...unusable(own))
  if (hasCredentials && own.password != null)
    issues.push('password and credentials exclude each other: the function credentials gives the password')
  if (issues.length > 0) throw badOptions(issues)
  return (given?: Credentials) => {
    const { username, password } = given ?? NO_CREDENTIALS
    const client = new Layered(forced, { username, password }, user, DEFAULTS)
    ownOptions.set(
      client,
      password === undefined
        ? own
        : { ...own, username: (client.options as RedisOptions).username, password },
    )
    return client
  }
}

const NO_CREDENTIALS: Partial<Credentials> = {}

/** The options of clients as they would be without the pool. */
const ownOptions = new WeakMap<RedisClient, object>()

/**
 * An ordinary client with the options that the user gave: it connects by itself, reconnects, and is his to close. What
 * the pool forces is for clients that it can replace.
 */
export function duplicateOf(client: RedisClient, override: object | undefined): unknown {
  const { duplicate } = client as unknown as { duplicate: (override?: object) => unknown }
  const options = ownOptions.get(client) ?? client.options
  // ioredis reads no more than the options of the client that it duplicates; see `handleClass` for why this is a copy.
  const alike = Object.create(Object.getPrototypeOf(client), Object.getOwnPropertyDescriptors(client))
  return duplicate.call(Object.defineProperty(alike, 'options', { value: options }), override)
}

/** What is wrong with the first argument itself. ioredis would take most of it for no options: localhost. */
function wrongTarget(given: unknown): string[] {
  if (isRedisClient(given))
    return ['a client cannot be shared by the connections of a pool: pass () => new Redis(…)']
  if (typeof given === 'string' && given.trim() !== '') {
    // ioredis takes any other for the path of a Unix socket.
    const [, scheme] = /^\s*([a-z][\w+.-]*):\/\//i.exec(given) ?? []
    return scheme === undefined || /^rediss?$/i.test(scheme)
      ? []
      : [`${scheme}:// is no scheme of Redis: a URL begins with redis:// or rediss://`]
  }
  if (isRecord(given) && readField(given, 'isCluster', []) !== true) return []
  const hint = given instanceof URL ? ': pass url.href' : ''
  return [`redis must be RedisOptions, a URL, or a function that makes a client, got ${show(given)}${hint}`]
}

/** setTimeout takes any other for one millisecond, or throws where nobody can catch that. */
const TIMER = millis(0)

/** Options with which ioredis connects to something else, or fails where nobody can catch it, unless they are right. */
const RULES: Readonly<Record<string, Rule>> = {
  // ioredis fails to select it behind the scenes, and goes on with database 0.
  db: whole(0),
  port: wholeTo(0, 65_535),
  connectTimeout: TIMER,
  commandTimeout: TIMER,
  socketTimeout: TIMER,
}

/** @param options - as ioredis has read them */
function unusable(options: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(RULES).flatMap(([name, rule]) => {
    const value = options[name] ?? undefined
    return value === undefined ? [] : breaches(rule, name, value)
  })
}

/** The options by name; those of a URL are its query, all of them strings. */
function named(user: unknown): Readonly<Record<string, unknown>> {
  if (typeof user !== 'string') return user as Record<string, unknown>
  const [, query = ''] = user.split('#', 1)[0]?.split(/\?(.*)/s) ?? []
  return Object.fromEntries(new URLSearchParams(query))
}

/** Options of the pool among those for ioredis, which would not look at them. `name` is one of both. */
function misplaced(user: Readonly<Record<string, unknown>>): string[] {
  const names = Object.keys(user).filter(name => KNOWN.has(name) && name !== 'name')
  return names.map(name => `${name} is an option of the pool: pass it in the second argument`)
}

function conflicts(user: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(FORCED).flatMap(([name, forced]) => {
    const own = user[name]
    return own === undefined || own === forced.value || own === String(forced.value)
      ? []
      : [conflict(name, own, forced)]
  })
}

function conflict(name: string, own: unknown, { value, why }: Forced): string {
  return `${name} must be ${value} on a pooled client, got ${show(own)}: ${why}`
}

/**
 * Gives a client that the user made the options that a pooled client needs, before it can have used others. Most of
 * them cannot be told from ioredis's own defaults and are replaced; those that the user must have chosen are refused.
 *
 * @param isTerse - the server, or a proxy before it, hangs up at commands that it does not have
 * @throws PoolError `POOL_BAD_OPTIONS` that lists every conflict
 */
export function forceOptions(client: RedisClient, isTerse: boolean): void {
  const options = client.options as Record<string, unknown>
  const isMadeByUser = !ownOptions.has(client)
  if (isMadeByUser) ownOptions.set(client, { ...options })
  const differing = Object.entries(FORCED).filter(([name, { value }]) => options[name] !== value)
  const issues = differing
    .filter(([name, { usual }]) => (usual && options[name] !== undefined) || Object.isFrozen(options))
    .map(([name, forced]) => conflict(name, options[name], forced))
  issues.push(...unusable(options), ...(isMadeByUser ? unheededOptions(options) : []))
  if (issues.length > 0) throw badOptions(issues)
  for (const [name, { value }] of differing) options[name] = value
  if (isTerse) Object.assign(options, TERSE)
  setDisconnectTimeout(client, DISCONNECT_MILLIS)
  // A borrower who changes an option would change it for all that borrow after him.
  Object.freeze(options)
}
