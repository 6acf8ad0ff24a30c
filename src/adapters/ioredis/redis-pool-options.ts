import type { Redis } from 'ioredis'
import { KNOWN, OPTIONS } from '../../api/options/option-table.ts'
import type { PoolOptions } from '../../api/options/options.ts'
import { isRecord, readRecord, show } from '../../api/options/read-input.ts'
import { CredentialSource, type CredentialsFunction } from './client/credentials.ts'
import { misplacedOptions, type Place } from './misplaced-options.ts'

/** The role that a server must have for its connections to be lent. */
export type WantedRole = 'primary' | 'replica' | 'any'

/** The adapter's own options, resolved. */
export interface AdapterOptions {
  readonly instances: number | undefined
  readonly role: WantedRole | undefined
  /** In lower case. */
  readonly cleanCommands: ReadonlySet<string>
  readonly credentials: CredentialSource | undefined
  readonly handoffs: boolean
  /** After how long without use a lease is reported, where the user has not said. Milliseconds. */
  readonly leakThresholdMillis: number | undefined
}

/** A Redis client that is lent and sends nothing for this long is worth a word. Milliseconds. */
const LEAK_THRESHOLD_MILLIS = 30_000

export const NO_ADAPTER_OPTIONS: AdapterOptions = {
  instances: undefined,
  role: undefined,
  cleanCommands: new Set(),
  credentials: undefined,
  handoffs: false,
  leakThresholdMillis: undefined,
}

/** Options of a pool of Redis clients: those of any pool, and some that concern Redis. */
export interface RedisPoolOptions extends PoolOptions {
  /**
   * How many processes have a pool like this one. The pool then checks, when it first connects, whether all of them
   * together may open more clients than the server accepts (`maxclients`), and emits a process warning if so.
   */
  instances?: number | undefined
  /**
   * The role of the servers whose connections are lent. `'primary'` (default) refuses replicas. `'replica'` (default
   * where the ioredis options say `role: 'slave'`) refuses primaries. `'any'` (default with `readOnly`) refuses none.
   */
  role?: WantedRole | undefined
  /**
   * Commands that leave nothing behind on their connection, for example those of a module. A connection that has sent
   * an unknown command is closed when it is returned. Case does not matter.
   */
  cleanCommands?: readonly string[] | undefined
  /**
   * Gives the password of each new connection, and its username: for passwords that change and tokens that expire.
   * Connections made at the same time share one call. If the server refuses the answer, it is called again at once. A
   * connection retires before `expiresAt`. Bounded by `createTimeoutMillis`.
   */
  credentials?: CredentialsFunction | undefined
  /**
   * Follow a server that announces its maintenance (Redis Cloud, Redis Software): the pool moves to the new address
   * before the server closes the connections. Needs RESP3, so ioredis 6. Default false.
   */
  handoffs?: boolean | undefined
  /**
   * Prepares a new client once before it is first lent, within `createTimeoutMillis`: loads a library, reads a setting.
   * If it fails, the connection is closed and counts as a failed create.
   */
  prepare?(client: Redis, signal: AbortSignal): void | Promise<void>
}

/** The same; the pools of a cluster's nodes are given a source that they share. */
export interface NodePoolOptions extends Omit<RedisPoolOptions, 'credentials'> {
  credentials?: CredentialsFunction | CredentialSource | undefined
}

const ROLES: readonly unknown[] = ['primary', 'replica', 'any']

/** The names of all options of `createRedisPool`. */
export const NAMES: ReadonlySet<string> = new Set([
  ...KNOWN,
  'instances',
  'role',
  'cleanCommands',
  'credentials',
  'handoffs',
  'prepare',
])

/**
 * Takes the options out that belong elsewhere, and says in `issues` where.
 *
 * @param names - those that belong here
 */
export function withoutMisplaced(
  given: Readonly<Record<string, unknown>>,
  names: ReadonlySet<string>,
  place: Place,
  issues: string[],
): Record<string, unknown> {
  const found = misplacedOptions(
    Object.keys(given).filter(name => !names.has(name)),
    place,
  )
  issues.push(...found.values())
  return Object.fromEntries(Object.entries(given).filter(([name]) => !found.has(name)))
}

/**
 * Splits the options into those of the adapter and those for the pool. A value that is not an object is passed on, so
 * that the pool refuses it.
 */
export function splitOptions(given: NodePoolOptions | undefined): {
  readonly adapter: AdapterOptions
  readonly pool: PoolOptions | undefined
  readonly prepare: RedisPoolOptions['prepare']
  /** What is wrong with the adapter's options. */
  readonly issues: readonly string[]
} {
  const issues: string[] = []
  if (!isRecord(given)) {
    const adapter = { ...NO_ADAPTER_OPTIONS, leakThresholdMillis: LEAK_THRESHOLD_MILLIS }
    return { adapter, pool: given, prepare: undefined, issues }
  }
  const read = withoutMisplaced(readRecord(given, NAMES, issues), NAMES, 'pool', issues)
  const { instances, role, cleanCommands, credentials, handoffs, prepare, ...pool } = read
  if (instances !== undefined && !(Number.isInteger(instances) && (instances as number) >= 1))
    issues.push(`instances must be a whole number ≥ 1, got ${show(instances)}`)
  if (role !== undefined && !ROLES.includes(role))
    issues.push(`role must be 'primary', 'replica' or 'any', got ${show(role)}`)
  const isList = Array.isArray(cleanCommands) && cleanCommands.every(name => typeof name === 'string')
  if (cleanCommands !== undefined && !isList)
    issues.push(`cleanCommands must be a list of names of commands, got ${show(cleanCommands)}`)
  const isShared = credentials instanceof CredentialSource
  if (credentials !== undefined && typeof credentials !== 'function' && !isShared)
    issues.push(`credentials must be a function, got ${show(typeof credentials)}`)
  if (handoffs !== undefined && typeof handoffs !== 'boolean')
    issues.push(`handoffs must be true or false, got ${show(handoffs)}`)
  if (prepare !== undefined && typeof prepare !== 'function')
    issues.push(`prepare must be a function, got ${show(prepare)}`)
  if (issues.length > 0) return { adapter: NO_ADAPTER_OPTIONS, pool, prepare: undefined, issues }
  const adapter = {
    instances: instances as number | undefined,
    role: role as WantedRole | undefined,
    cleanCommands: new Set(((cleanCommands ?? []) as string[]).map(name => name.toLowerCase())),
    handoffs: handoffs === true,
    credentials:
      credentials === undefined || isShared
        ? credentials
        : new CredentialSource(credentials as CredentialsFunction, createMillisOf(pool)),
    // Nothing is ever reclaimed by default: that needs a threshold of the user's own.
    leakThresholdMillis:
      pool.leakThresholdMillis === undefined && pool.leakReclaim !== true ? LEAK_THRESHOLD_MILLIS : undefined,
  }
  return { adapter, pool, prepare: prepare as RedisPoolOptions['prepare'], issues }
}

/** How long a create may take. A wrong value is refused with the options of the pool. */
const createMillisOf = ({ createTimeoutMillis }: { readonly createTimeoutMillis?: unknown }): number =>
  Number(createTimeoutMillis ?? OPTIONS.createTimeoutMillis.fallback)
