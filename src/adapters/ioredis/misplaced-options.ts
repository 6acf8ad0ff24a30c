import { Redis } from 'ioredis'
import { KNOWN } from '../../api/options/option-table.ts'
import { FORCED } from './client/client-options.ts'
import { isIoredisOption, rightName } from './client/foreign-options.ts'

/*
 * Options that users know from ioredis, from its Cluster or from node-redis, and give where this pool does not have them:
 * where each belongs, or what to do instead.
 */

/** What takes the options. */
export type Place =
  /** The second argument of `createRedisPool`. */
  | 'pool'
  /** The second argument of `createRedisClusterPool`. */
  | 'cluster'
  /** `redisOptions` in it. */
  | 'redisOptions'

const ITSELF = 'leave it out: the pool asks the nodes itself, and decides when to try again'
const FOLLOW =
  'leave it out: use(where, fn, { retryMoved: true }) repeats the function where its slot has moved, while its acquire may wait'
const NODES = 'the nodes are the first argument: createRedisClusterPool(nodes, options)'
const SRV = 'leave it out: resolve the SRV record yourself, and pass the addresses as nodes'
const NAMES = 'leave it out: the pool connects to the names that the cluster reports, and TLS checks them'
const REPLICA = "say role: 'replica' with each loan: pool.use({ key, role: 'replica' }, fn)"

/** Options of the Cluster of ioredis and of node-redis's createCluster, in lower case. */
const OF_CLUSTERS: Readonly<Record<string, string>> = {
  ...{ scalereads: REPLICA, usereplicas: REPLICA, readonly: REPLICA },
  ...{ maxredirections: FOLLOW, maxcommandredirections: FOLLOW },
  ...{ clusterretrystrategy: ITSELF, clusternoderetrystrategy: ITSELF, retrydelayonmoved: ITSELF },
  ...{ retrydelayonfailover: ITSELF, retrydelayonclusterdown: ITSELF, retrydelayontryagain: ITSELF },
  ...{
    slotsrefreshtimeout: ITSELF,
    slotsrefreshinterval: ITSELF,
    topologyrefreshonreconnectionattempt: ITSELF,
  },
  ...{ usesrvrecords: SRV, resolvesrv: SRV, dnslookup: NAMES },
  ...{ nodeaddressmap: 'it is called natMap', defaults: 'it is called redisOptions' },
  ...{ clusteroptions: 'pass what is in it by itself', clientoptions: 'it is called redisOptions' },
  minimizeconnections: 'leave it out: each node has a pool, which connects when it is first needed',
  shardedsubscribers: 'leave it out: take subscribers from duplicate() of a lent client',
  commandoptions: 'leave it out: commandTimeout in redisOptions limits the time of a command',
  resp: 'it is called protocol, in redisOptions',
  credentialsprovider: 'it is called credentials, a function',
  functions: 'leave it out: call functions with redis.fcall',
  modules: 'leave it out: call commands of modules with redis.call',
  db: 'leave it out: a cluster has database 0 only',
  retrymoved: 'it is an option of use: pool.use(where, fn, { retryMoved: true })',
}

/** Where these belong, whatever ioredis has under the name. */
const OF_LOANS: Readonly<Record<string, string>> = {
  scalereads: "say role: 'replica'",
  usereplicas: "say role: 'replica'",
  readonly: "say role: 'replica', or 'any'",
  maxtotal: 'it is an option of createRedisClusterPool; of one server max is the limit',
  retrymoved: 'it is an option of the pool of a cluster: createRedisClusterPool',
}

const ADDRESS: ReadonlySet<string> = new Set(['host', 'port', 'path', 'sentinels'])
/** What is said of the names that other clients have for these. */
const LEADING_ELSEWHERE =
  /it is called (?:host|path|sentinels|name)|make a pool for each|createRedis(?:Cluster)?Pool\(/

/** Of these the pool has its own, with another name that it suggests. */
const SUGGESTED: ReadonlySet<string> = new Set(['connectTimeout'])

const { defaultOptions: DEFAULTS = {} } = Redis as unknown as { defaultOptions?: object }

/** Options beside `redisOptions` that ioredis has as well, or that users put there. */
const BESIDE: ReadonlySet<string> = new Set(['natmap', 'credentials', 'maxtotal'])

/**
 * What is wrong with these options, as they belong elsewhere.
 *
 * @param names - those that the place does not have
 */
export function misplacedOptions(names: readonly string[], place: Place): Map<string, string> {
  const found = new Map<string, string>()
  for (const name of names) {
    const where = belongs(name, place)
    if (where === undefined) continue
    const of = place === 'redisOptions' ? `redisOptions.${name}` : name
    found.set(name, `${of} is not an option ${place === 'redisOptions' ? 'here' : 'of the pool'}: ${where}`)
  }
  return found
}

function belongs(name: string, place: Place): string | undefined {
  const plain = name.toLowerCase().replaceAll(/[-_]/g, '')
  if (place === 'redisOptions') {
    if (BESIDE.has(plain) || KNOWN.has(name)) return 'it belongs beside redisOptions'
    if (plain === 'role') return REPLICA
    // Its value matters.
    if (plain === 'db') return undefined
  }
  const special = (place === 'pool' ? OF_LOANS : OF_CLUSTERS)[plain]
  if (special !== undefined) return special
  const right = rightName(name)
  const isAddress = ADDRESS.has(name) || LEADING_ELSEWHERE.test(right ?? '')
  if (place !== 'pool' && isAddress) return NODES
  if (place === 'redisOptions' || SUGGESTED.has(name)) return undefined
  const forced = FORCED[name]
  if (forced !== undefined)
    return `leave it out: it is ${forced.value} on a pooled client, because ${forced.why}`
  const target = place === 'pool' ? 'the first argument' : 'redisOptions'
  if (isIoredisOption(name, DEFAULTS)) return `pass it to ioredis, in ${target}`
  if (right === undefined || /createRedis/.test(right)) return right
  return `in ${target} ${right}`
}
