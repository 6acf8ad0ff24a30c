import type { RedisOptions } from 'ioredis'
import { messageOf } from '../../../api/errors.ts'
import { breaches, KNOWN, millis, type Rule, whole, wholeTo } from '../../../api/options/option-table.ts'
import { isRecord, readField, readRecord, show } from '../../../api/options/read-input.ts'
import { badOptions } from '../../../api/options/resolve-options.ts'
import { isRedisClient, setDisconnectTimeout } from './client.ts'
import type { RedisClient } from './client-types.ts'
import { type Credentials, wrongCredentials } from './credentials.ts'
import { foreignOptions, sentinelIssues, unheededOptions, withoutTarget } from './foreign-options.ts'

/** How long a client that its borrower ends with `disconnect()` waits for the server to close. Milliseconds. */
const DISCONNECT_MILLIS = 100

interface Forced {
  readonly value: unknown
  readonly why: string
  /** Set where this is ioredis's default too. Any other value must then have been chosen by the user. */
  readonly usual?: true
}

/** Options that every pooled client must have. */
export const FORCED: Readonly<Record<string, Forced>> = {
  lazyConnect: {
    value: true,
    why: 'the pool decides when to connect, and must see every error from the start',
  },
  retryStrategy: {
    value: null,
    why: 'a client that reconnects by itself loses its WATCH or MULTI silently; the pool replaces it instead',
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
  maintNotifications: {
    value: 'disabled',
    why: 'a client that replaces its socket under a loan escapes every check; handoffs: true moves the pool instead',
  },
  monitor: { value: false, why: 'a connection that monitors takes no commands', usual: true },
}

/** Options of a client that sends only AUTH and SELECT on its own. */
const TERSE = { protocol: 2, disableClientInfo: true, enableReadyCheck: false, connectionName: null }

/** Options that the pool sets unless the user does. Times are in milliseconds. */
const DEFAULTS: RedisOptions = {
  // Detects within 20 s that an idle connection has died silently. ioredis 5 has 0: the system's two hours.
  keepAlive: 10_000,
  noDelay: true,
  // Off, because `createTimeoutMillis` covers the handshake too, and takes stalls of the event loop into account.
  connectTimeout: 0,
  // The longest pause between two checks while the server loads its data. ioredis's timer keeps the process alive.
  maxLoadingRetryTime: 200,
  // Otherwise a sentinel that accepts the connection and stays silent would hold it for ever.
  sentinelCommandTimeout: 2000,
}

/** ioredis merges its constructor's arguments, objects and URLs. The first one that sets an option wins. */
type RedisClass<R extends RedisClient> = new (...layers: never[]) => R

/**
 * Returns a function that creates an unconnected client from the user's options.
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
  if (isRecord(user)) {
    const { defaultOptions = {} } = Client as unknown as { defaultOptions?: object }
    issues.push(...withoutTarget(named(user), defaultOptions), ...sentinelIssues(named(user).sentinels))
  }
  const forced = Object.fromEntries(Object.entries(FORCED).map(([name, { value }]) => [name, value]))
  const Layered = Client as unknown as new (...layers: readonly unknown[]) => R
  let own: Readonly<Record<string, unknown>> = {}
  try {
    // Creates a client that never connects and is dropped, so that an unreadable URL is refused now and not at each
    // acquire.
    own = { ...new Layered({ lazyConnect: true }, user).options, lazyConnect: false }
  } catch (error) {
    const hint = String(messageOf(error)).startsWith('Invalid URL') ? `: remove spaces, and ${ENCODE}` : ''
    issues.push(`ioredis refuses the options: ${messageOf(error)}${hint}`)
  }
  issues.push(...unusable(own))
  // ioredis takes an empty password out of a URL that has a user only.
  if (hasCredentials && own.password != null && own.password !== '')
    issues.push('password and credentials exclude each other: the function credentials gives the password')
  if (issues.length > 0) throw badOptions(issues)
  return (given?: Credentials) => {
    const { username, password } = given ?? NO_CREDENTIALS
    if (username !== undefined && own.username != null && own.username !== username)
      throw wrongCredentials([OTHER_USER])
    // In one layer: ioredis takes three.
    const client = new Layered({ ...forced, username, password }, user, DEFAULTS)
    ownOptions.set(
      client,
      password === undefined
        ? own
        : { ...own, username: (client.options as RedisOptions).username, password },
    )
    return client
  }
}

const OTHER_USER =
  'credentials must give the same username as the options of ioredis or the URL, or one of the two must leave it out'
const NO_CREDENTIALS: Partial<Credentials> = {}

/** The options that each client would have without the pool. */
const ownOptions = new WeakMap<RedisClient, object>()

/**
 * Creates an ordinary client with the options that the user gave. It connects by itself and reconnects, and its caller
 * has to close it. The options that the pool forces only suit clients that the pool can replace.
 */
export function duplicateOf(client: RedisClient, override: object | undefined): unknown {
  const { duplicate } = client as unknown as { duplicate: (override?: object) => unknown }
  const options = ownOptions.get(client) ?? client.options
  // `duplicate` only reads the client's options. See `handleClass` for why this is a copy.
  const alike = Object.create(Object.getPrototypeOf(client), Object.getOwnPropertyDescriptors(client))
  return duplicate.call(Object.defineProperty(alike, 'options', { value: options }), override)
}

/** How a password is written in a URL. */
export const ENCODE = 'write # / ? @ and % of a password percent-encoded (encodeURIComponent)'

/** Checks the type of the first argument. ioredis would take most wrong values for no options at all: localhost. */
function wrongTarget(given: unknown): string[] {
  if (isRedisClient(given))
    return ['a client cannot be shared by the connections of a pool: pass () => new Redis(…)']
  if (typeof given === 'string' && given.trim() !== '') {
    if (/^\s*["']/.test(given))
      return ['the URL begins with a quote: remove the quotes from the text or the environment variable']
    // ioredis takes any other text for the path of a Unix socket.
    const [, scheme] = /^\s*([a-z][\w+.-]*):\/\//i.exec(given) ?? []
    if (scheme !== undefined && !/^rediss?$/i.test(scheme))
      return [`${scheme}:// is not a Redis scheme: a URL must begin with redis:// or rediss://`]
    // Everything behind it would be ignored: mostly the rest of a password, and the host.
    if (scheme !== undefined && given.includes('#')) return [`the URL contains a #: ${ENCODE}`]
    return scheme === undefined ? [] : saidTwice(given.trim())
  }
  if (isRecord(given) && readField(given, 'isCluster', []) !== true) return []
  const isUnset = given === undefined || given === ''
  const hint = given instanceof URL ? ': pass url.href' : isUnset ? ': is the environment variable set?' : ''
  return [`redis must be RedisOptions, a URL, or a function that makes a client, got ${show(given)}${hint}`]
}

/** What a URL says twice, and not the same. ioredis would take what is in front of the `?`. */
function saidTwice(text: string): string[] {
  if (!URL.canParse(text)) return []
  const { username, password, pathname, searchParams } = new URL(text)
  return Object.entries({ username, password, db: pathname.slice(1) }).flatMap(([name, first]) => {
    const other = searchParams.get(name) ?? first
    return first === '' || other === first || encodeURIComponent(other) === first
      ? []
      : [`the URL has two values for ${name}: leave one out`]
  })
}

/** `setTimeout` turns any other value into one millisecond, or throws where nobody can catch the error. */
const TIMER = millis(0)

/** Options whose wrong values make ioredis connect to something else, or fail where nobody can catch the error. */
const RULES: Readonly<Record<string, Rule>> = {
  // ioredis fails to select such a database without reporting it, and continues with database 0.
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

/** The options by name. Those of a URL are in its query string, and all are strings. */
function named(user: unknown): Readonly<Record<string, unknown>> {
  if (typeof user !== 'string') return user as Record<string, unknown>
  const [, query = ''] = user.split('#', 1)[0]?.split(/\?(.*)/s) ?? []
  return Object.fromEntries(new URLSearchParams(query))
}

/** Finds pool options among those for ioredis, which would ignore them. Both have an option `name`. */
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
 * Gives a client that the user created the options that a pooled client needs, before it can have used others. Most
 * values cannot be told from ioredis's defaults and are replaced. Values that the user must have chosen are refused.
 *
 * @param isTerse - the server, or a proxy in front of it, closes the connection on commands that it does not know
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
  // A borrower who changed an option would change it for all later borrowers. But iovalkey changes others while it
  // connects: with which family of addresses it tries next.
  for (const name of Object.keys(FORCED)) Object.defineProperty(options, name, { writable: false })
  if (client.status === 'ready') Object.freeze(options)
  else client.once('ready', () => Object.freeze(options))
}
