import { messageOf, PoolError } from '../../../api/errors.ts'
import { isRecord, show } from '../../../api/options/read-input.ts'
import { badOptions } from '../../../api/options/resolve-options.ts'
import { type Address, addressOf, inWords } from '../failover/addresses.ts'
import { SLOTS } from './keys.ts'

/** A node of the cluster. */
export interface ClusterNode {
  /** What the cluster calls it; the address where only that is known. */
  readonly id: string
  readonly address: Address
}

/** A primary and its replicas. */
export interface Shard {
  readonly primary: ClusterNode
  readonly replicas: readonly ClusterNode[]
}

/** What one node says of the cluster. */
export interface View {
  /** The address of the node that was asked, and what the cluster calls it; the same where it does not say. */
  readonly by: string
  readonly id: string
  /** The number of the latest change that it knows of: cluster_current_epoch. */
  readonly epoch: number
  readonly nodes: ReadonlyMap<string, ClusterNode>
  /** The shard of each slot. */
  readonly shards: readonly (Shard | undefined)[]
  /** Where `shards` may change: between two of these slots it does not. In no order, and some may come twice. */
  readonly cuts: readonly number[]
}

/** The address of a node as this process sees it (`natMap`). */
export type Translate = (address: Address) => Address

export type NatMap = Readonly<Record<string, Address>> | ((address: string) => Address | null | undefined)

/** What is wrong with the option `natMap`. What a function returns is looked at when it is called. */
export function natMapIssues(given: unknown): string[] {
  if (given === undefined || typeof given === 'function') return []
  if (!isRecord(given)) return [`natMap must be an object or a function, got ${show(given)}`]
  return Object.entries(given)
    .filter(([, found]) => mapped(found) === undefined)
    .map(([from, found]) => `natMap['${from}'] must be { host, port }, got ${show(found)}`)
}

/** @returns undefined if it is no address; null if it says that there is none */
function mapped(found: unknown): Address | null | undefined {
  if (found === undefined || found === null) return null
  return isRecord(found) && typeof found.host === 'string' && found.host !== ''
    ? addressOf(found.host, found.port)
    : undefined
}

const natMapErrors = new WeakSet<object>()

/** Is this an error of the function `natMap`, or about what it returned? */
export const isOfNatMap = (error: unknown): boolean => natMapErrors.has(error as object)

/** @returns a function that throws `POOL_BAD_OPTIONS` if `natMap` throws, or gives no address */
export function translator(natMap: NatMap | undefined): Translate {
  if (natMap === undefined) return address => address
  const find = typeof natMap === 'function' ? natMap : (address: string) => natMap[address]
  return address => {
    const from = `${address.host}:${address.port}`
    const wrong = (what: string, cause?: unknown): PoolError => {
      const error = badOptions([what], undefined, undefined, 'the option natMap')
      if (cause !== undefined) Object.defineProperty(error, 'cause', { value: cause, configurable: true })
      natMapErrors.add(error)
      return error
    }
    let found: unknown
    try {
      found = find(from)
    } catch (error) {
      throw wrong(`natMap threw for '${from}': ${messageOf(error)}`, error)
    }
    const to = mapped(found)
    if (to === undefined)
      throw wrong(`natMap must give { host, port } or nothing for '${from}', got ${show(found)}`)
    return to ?? address
  }
}

/** The replies to CLUSTER SLOTS, INFO and MYID. */
export interface Answers {
  readonly slots: unknown
  readonly info?: unknown
  readonly id?: unknown
}

/**
 * Reads what a node says. CLUSTER SLOTS: for each range of slots, its primary and the replicas. The address of a node is the
 * one that the cluster prefers (`cluster-preferred-endpoint-type`). Where it gives none, it means the host that was
 * asked.
 *
 * @throws if the reply is of another shape
 */
export function readView({ slots, info, id }: Answers, asked: Address, translate: Translate): View {
  if (!Array.isArray(slots)) throw badReply('the reply to CLUSTER SLOTS is not a list', asked)
  const nodes = new Map<string, ClusterNode>()
  const shards = new Array<Shard | undefined>(SLOTS).fill(undefined)
  const cuts = [0]
  const nodeOf = (given: unknown): ClusterNode[] => {
    const [host, port, id] = Array.isArray(given) ? given : []
    const isKnown = host !== null && String(host) !== '' && String(host) !== '?'
    const named = addressOf(isKnown ? host : asked.host, port)
    if (named === undefined) return []
    const address = isKnown ? translate(named) : named
    const node = { id: String(id ?? inWords(address)), address }
    nodes.set(node.id, nodes.get(node.id) ?? node)
    return [nodes.get(node.id) as ClusterNode]
  }
  for (const range of slots) {
    const [first, last, ...members] = Array.isArray(range) ? range : []
    const [primary] = nodeOf(members[0])
    const isRange = Number.isInteger(first) && Number.isInteger(last) && first >= 0 && last < SLOTS
    const isNowhere = Array.isArray(members[0]) && members[0][1] === 0
    if (!isRange || (primary === undefined && !isNowhere))
      throw badReply('the reply to CLUSTER SLOTS has no range of slots', asked)
    // Port 0: this node knows of no way to the primary. A replica is none either.
    const shard = primary && { primary, replicas: members.slice(1).flatMap(nodeOf) }
    shards.fill(shard, first, last + 1)
    cuts.push(first, last + 1)
  }
  const epoch = Number(/^cluster_current_epoch:(\d+)/m.exec(String(info))?.[1] ?? 0)
  const by = inWords(asked)
  return { by, id: typeof id === 'string' && id !== '' ? id : by, epoch, nodes, shards, cuts }
}

const badReply = (what: string, asked: Address): PoolError =>
  new PoolError('POOL_BAD_REPLY', `${what}: it came from ${inWords(asked)}`)
