import type { Redis } from 'ioredis'
import { KNOWN } from '../../api/option-table.ts'
import type { PoolOptions } from '../../api/options.ts'
import { isRecord, readRecord, show } from '../../api/read-input.ts'
import { CredentialSource, type CredentialsFunction } from './client/credentials.ts'

/** Which role a server must have for its connections to be lent. */
export type WantedRole = 'primary' | 'replica' | 'any'

/** Options of the adapter itself, resolved. */
export interface AdapterOptions {
  readonly instances: number | undefined
  readonly role: WantedRole | undefined
  /** In lower case. */
  readonly cleanCommands: ReadonlySet<string>
  readonly credentials: CredentialSource | undefined
}

export const NO_ADAPTER_OPTIONS: AdapterOptions = {
  instances: undefined,
  role: undefined,
  cleanCommands: new Set(),
  credentials: undefined,
}

/** Options of a pool of Redis clients: those of any pool, and some about Redis. */
export interface RedisPoolOptions extends PoolOptions {
  /**
   * How many processes have a pool like this one. With it the pool can tell, when it first connects, whether all of
   * them together may ask for more clients than the server takes (`maxclients`): then there is a process warning.
   */
  instances?: number | undefined
  /**
   * Whose connections are lent. `'primary'` (default) refuses those to a replica; `'replica'` (default where the
   * options for ioredis say `role: 'slave'`) those to a primary; `'any'` (default with `readOnly`) none.
   */
  role?: WantedRole | undefined
  /**
   * Commands that leave no trace on their connection, of a module for example. A connection that carried a command
   * that is not known is closed when it comes back. Case does not matter.
   */
  cleanCommands?: readonly string[] | undefined
  /**
   * Gives the password of each new connection, and the username: for passwords that change and tokens that end.
   * Connections made at the same time share one call. It is called again at once when the server refuses what it gave.
   * A connection retires before `expiresAt`. Bounded by `createTimeoutMillis`.
   */
  credentials?: CredentialsFunction | undefined
  /**
   * Makes a new client ready to be lent, once, within `createTimeoutMillis`: loads a library, asks for a setting. When
   * it fails, the connection is closed and counts as a failed create.
   */
  prepare?(client: Redis, signal: AbortSignal): void | Promise<void>
}

const ROLES: readonly unknown[] = ['primary', 'replica', 'any']

const NAMES: ReadonlySet<string> = new Set([
  ...KNOWN,
  'instances',
  'role',
  'cleanCommands',
  'credentials',
  'prepare',
])

/** The options of the adapter, and those that are left for the pool. What is no object is left for the pool to refuse. */
export function splitOptions(given: RedisPoolOptions | undefined): {
  readonly adapter: AdapterOptions
  readonly pool: PoolOptions | undefined
  readonly prepare: RedisPoolOptions['prepare']
  /** What is wrong with those of the adapter. */
  readonly issues: readonly string[]
} {
  const issues: string[] = []
  if (!isRecord(given)) return { adapter: NO_ADAPTER_OPTIONS, pool: given, prepare: undefined, issues }
  const { instances, role, cleanCommands, credentials, prepare, ...pool } = readRecord(given, NAMES, issues)
  if (instances !== undefined && !(Number.isInteger(instances) && (instances as number) >= 1))
    issues.push(`instances must be a whole number ≥ 1, got ${show(instances)}`)
  if (role !== undefined && !ROLES.includes(role))
    issues.push(`role must be 'primary', 'replica' or 'any', got ${show(role)}`)
  const isList = Array.isArray(cleanCommands) && cleanCommands.every(name => typeof name === 'string')
  if (cleanCommands !== undefined && !isList)
    issues.push(`cleanCommands must be a list of names of commands, got ${show(cleanCommands)}`)
  if (credentials !== undefined && typeof credentials !== 'function')
    issues.push(`credentials must be a function, got ${show(typeof credentials)}`)
  if (prepare !== undefined && typeof prepare !== 'function')
    issues.push(`prepare must be a function, got ${show(prepare)}`)
  if (issues.length > 0) return { adapter: NO_ADAPTER_OPTIONS, pool, prepare: undefined, issues }
  const adapter = {
    instances: instances as number | undefined,
    role: role as WantedRole | undefined,
    cleanCommands: new Set(((cleanCommands ?? []) as string[]).map(name => name.toLowerCase())),
    credentials:
      credentials === undefined ? undefined : new CredentialSource(credentials as CredentialsFunction),
  }
  return { adapter, pool, prepare: prepare as RedisPoolOptions['prepare'], issues }
}
