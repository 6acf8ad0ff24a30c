import { ACQUIRE_OPTIONS, requestIssues } from '../../../api/acquire-request.ts'
import { isRecord, show } from '../../../api/options/read-input.ts'
import { badOptions } from '../../../api/options/resolve-options.ts'
import type { ClusterConfig } from './cluster-options.ts'
import { type Key, keySlot, SLOTS } from './keys.ts'
import type { Slotted } from './loan-guard.ts'

/** Where a loan leads to: the node of a key or of a slot, or one node by its address. */
export type ClusterWhere =
  | { readonly key: string | Uint8Array; readonly role?: 'primary' | 'replica' | undefined }
  | { readonly slot: number; readonly role?: 'primary' | 'replica' | undefined }
  | { readonly node: string }

/** The same, checked. */
export interface Target extends Slotted {
  /** `host:port`, where the loan is for a node. */
  readonly node: string | undefined
}

/** The arguments of `use`, `acquire` and `lease`. */
interface Arguments {
  readonly where: unknown
  /** Only of `use`. */
  readonly work?: unknown
  readonly options: unknown
}

const WAYS = ['key', 'slot', 'node'] as const
const ROLES: readonly unknown[] = ['primary', 'replica', undefined]
const ANY_WAY = "{ key: 'order:7' }, { slot } or { node: 'host:port' }"
const USE_OPTIONS: ReadonlySet<string> = new Set([...ACQUIRE_OPTIONS, 'retryMoved'])

/** Names that are none of `where`, and what was probably meant. */
const MEANT: Readonly<Record<string, string>> = {
  keys: 'give one of them as key, as all keys of a loan have to be in its slot',
  slots: 'give one as slot',
  host: "a node is given as { node: 'host:port' }",
  port: "a node is given as { node: 'host:port' }",
  address: "a node is given as { node: 'host:port' }",
  replica: "say role: 'replica'",
  readonly: "say role: 'replica'",
  scalereads: "say role: 'replica'",
  db: 'a cluster has database 0 only',
}

/**
 * Reads where a loan leads to, and checks the other arguments of the call.
 *
 * @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong with the arguments
 */
export function readTarget(
  call: 'use' | 'acquire' | 'lease',
  given: Arguments,
  { name, redis }: Pick<ClusterConfig, 'name' | 'redis'>,
): Target {
  const { where, options } = given
  const issues = whereIssues(where, call)
  const isWorkFirst = typeof where === 'function'
  if (call === 'use' && !isWorkFirst && typeof given.work !== 'function')
    issues.push(`use needs a function to run as its second argument, got ${show(given.work)}`)
  if (typeof options === 'function' || (typeof options === 'object' && options !== null))
    issues.push(...requestIssues(options, call, call === 'use' ? USE_OPTIONS : ACQUIRE_OPTIONS))
  const { retryMoved } = (isRecord(options) ? options : {}) as { retryMoved?: unknown }
  if (call === 'use' && retryMoved !== undefined && typeof retryMoved !== 'boolean')
    issues.push(`retryMoved must be true or false, got ${show(retryMoved)}`)
  if (issues.length > 0) throw badOptions(issues, name, undefined, `the arguments of ${call}`)
  const { key, slot, node, role } = where as {
    key?: Key
    slot?: number
    node?: string
    role?: Target['role']
  }
  const sent = key === undefined ? undefined : prefixed(key, redis.keyPrefix)
  return {
    slot: sent === undefined ? slot : keySlot(sent),
    key: sent,
    node,
    role: role ?? 'primary',
  }
}

/** What is wrong with the first argument. */
function whereIssues(where: unknown, call: string): string[] {
  if (typeof where === 'function')
    return [`where comes first: ${call}({ key: 'order:7' }, redis => …), got a function`]
  if (!isRecord(where)) {
    const meant = typeof where === 'string' ? ': a key is given as { key }' : ''
    return [`where must be ${ANY_WAY}, got ${show(where)}${meant}`]
  }
  const { key, slot, node, role } = where
  const issues = Object.keys(where).flatMap(name => strayIssue(name, call))
  const ways = WAYS.filter(way => where[way] !== undefined)
  if (ways.length > 1)
    issues.push(`where.${ways.join(' and where.')} exclude each other: say one of key, slot and node`)
  const unset = WAYS.find(way => way in where)
  if (ways.length === 0)
    issues.push(
      unset === undefined ? `where must be ${ANY_WAY}, got none of them` : `where.${unset} is undefined`,
    )
  if (key !== undefined && typeof key !== 'string' && !(key instanceof Uint8Array))
    issues.push(`where.key must be a string or a Buffer, got ${show(key)}`)
  if (slot !== undefined && !(Number.isInteger(slot) && (slot as number) >= 0 && (slot as number) < SLOTS))
    issues.push(`where.slot must be a whole number from 0 to ${SLOTS - 1}, got ${show(slot)}`)
  if (node !== undefined && !(typeof node === 'string' && /.:\d+$/.test(node)))
    issues.push(`where.node must be 'host:port', got ${show(node)}`)
  if (!ROLES.includes(role)) issues.push(`where.role must be 'primary' or 'replica', got ${show(role)}`)
  if (node !== undefined && role !== undefined)
    issues.push('where.role has no meaning with where.node: the node has a role')
  return issues
}

function strayIssue(name: string, call: string): string[] {
  if (name === 'role' || (WAYS as readonly string[]).includes(name)) return []
  if (USE_OPTIONS.has(name)) {
    const last = name === 'retryMoved' || call === 'use' ? 'the third argument of use' : 'the second argument'
    return [`where.${name} is not known: pass it in ${last}`]
  }
  const meant = MEANT[name.toLowerCase()]
  return [`where.${name} is not known${meant === undefined ? '' : `: ${meant}`}`]
}

/** The key as ioredis sends it. */
function prefixed(key: Key, prefix: string | Uint8Array | undefined): Key {
  if (prefix === undefined || prefix.length === 0) return key
  if (typeof key === 'string' && typeof prefix === 'string') return prefix + key
  return Buffer.concat([Buffer.from(prefix), Buffer.from(key)])
}
