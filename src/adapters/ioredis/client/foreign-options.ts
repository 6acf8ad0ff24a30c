import { KNOWN } from '../../../api/options/option-table.ts'

/** Options of other Redis clients, or of older versions of ioredis: their name in ioredis, or what to do instead. */
const FOREIGN: Readonly<Record<string, string>> = {
  url: 'pass the URL itself as the first argument: createRedisPool(url, …)',
  uri: 'pass the URL itself as the first argument: createRedisPool(url, …)',
  connectionstring: 'pass the URL itself as the first argument: createRedisPool(url, …)',
  socket: 'pass its host, port, path and tls by themselves, beside the others',
  connection: 'pass what is in it by itself',
  config: 'pass what is in it by itself',
  options: 'pass what is in it by itself',
  redis: 'pass what is in it by itself',
  redisoptions: 'pass what is in it by itself',
  clientoptions: 'pass what is in it by itself',
  credentials:
    'a function of that name belongs in the second argument; values are called username and password',
  hostname: 'it is called host',
  redishost: 'it is called host',
  redisport: 'it is called port',
  redispassword: 'it is called password',
  endpoint: 'it is called host, and port',
  ip: 'it is called host',
  hosts: 'make a pool for each of them, or pass sentinels',
  servers: 'make a pool for each of them, or pass sentinels',
  endpoints: 'make a pool for each of them, or pass sentinels',
  server: 'it is called host',
  address: 'it is called host, and port',
  addr: 'it is called host, and port',
  database: 'it is called db',
  dbindex: 'it is called db',
  dbnum: 'it is called db',
  databaseindex: 'it is called db',
  databasenumber: 'it is called db',
  dbnumber: 'it is called db',
  selecteddb: 'it is called db',
  user: 'it is called username',
  authuser: 'it is called username',
  login: 'it is called username',
  authpass: 'it is called password',
  auth: 'it is called password, and username',
  pass: 'it is called password',
  passwd: 'it is called password',
  pwd: 'it is called password',
  ssl: 'it is called tls',
  usetls: 'it is called tls',
  usessl: 'it is called tls',
  secure: 'it is called tls',
  rejectunauthorized: 'it belongs in tls: without that, nothing is encrypted',
  ca: 'it belongs in tls: without that, nothing is encrypted',
  cert: 'it belongs in tls: without that, nothing is encrypted',
  unixsocket: 'it is called path',
  unixsocketpath: 'it is called path',
  socketpath: 'it is called path',
  sentinel: 'it is called sentinels, a list',
  mastername: 'it is called name',
  sentinelname: 'it is called name',
  sentinelrootnodes: 'it is called sentinels',
  nodes: 'for a Redis Cluster call createRedisClusterPool(nodes, options)',
  rootnodes: 'for a Redis Cluster call createRedisClusterPool(nodes, options)',
  startupnodes: 'for a Redis Cluster call createRedisClusterPool(nodes, options)',
  cluster: 'for a Redis Cluster call createRedisClusterPool(nodes, options)',
  clusternodes: 'for a Redis Cluster call createRedisClusterPool(nodes, options)',
  prefix: 'it is called keyPrefix',
  namespace: 'it is called keyPrefix',
}

/** Options that decide which server, database or user a connection leads to. ioredis accepts only this spelling. */
const LEADING = [
  'host',
  'port',
  'path',
  'db',
  'username',
  'password',
  'tls',
  'sentinels',
  'name',
  'keyPrefix',
]

/**
 * Finds options that ioredis would ignore, so that it would connect to localhost, to database 0 or without a user.
 *
 * @param user - the options by name
 */
export function foreignOptions(user: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(user).flatMap(name => {
    const right = user[name] === undefined ? undefined : rightName(name)
    return right === undefined ? [] : [`${name} is not an option of ioredis: ${right}`]
  })
}

/**
 * The same check for a client that the user created. Its options may contain some of the user's own. They are accepted
 * as long as ioredis has also found the option that they could stand for.
 */
export function unheededOptions(options: Readonly<Record<string, unknown>>): string[] {
  const { host, port, path, sentinels } = options
  const isAnywhere = host === 'localhost' && port === 6379 && !path && !sentinels
  const without = Object.entries(options).filter(([name]) => {
    const [, called = 'host'] = /it is called (\w+)/.exec(rightName(name) ?? '') ?? []
    return called === 'host' || called === 'path' || called === 'sentinels' ? isAnywhere : !options[called]
  })
  return foreignOptions(Object.fromEntries(without))
}

/** What an option of another client is called in ioredis, or what to do instead. */
export function rightName(name: string): string | undefined {
  if (LEADING.includes(name)) return undefined
  const lower = name.toLowerCase()
  const known = LEADING.find(known => known.toLowerCase() === lower)
  return known === undefined ? FOREIGN[lower.replace(/[_-]/g, '')] : `it is called ${known}`
}

/** Options of ioredis that have no default. Those that have one are found there. */
const WITHOUT_DEFAULT: ReadonlySet<string> = new Set(
  `Connector blockingTimeout commandTimeout himportFieldsets monitor path preferredSlaves scripts sentinelCommandTimeout
  sentinelPassword sentinelTLS sentinelUsername socketTimeout tls ioredis showFriendlyErrorStack dropBufferSupport`.split(
    /\s+/,
  ),
)

/**
 * Does ioredis have an option of this name?
 *
 * @param defaults - the default options of ioredis
 */
export const isIoredisOption = (name: string, defaults: object): boolean =>
  WITHOUT_DEFAULT.has(name) || Object.hasOwn(defaults, name)

/**
 * Where no option says what to connect to, one that ioredis does not know was meant to, under whatever name.
 *
 * @param defaults - the default options of ioredis
 */
export function withoutTarget(user: Readonly<Record<string, unknown>>, defaults: object): string[] {
  if (['host', 'port', 'path', 'sentinels', 'Connector'].some(name => user[name] !== undefined)) return []
  const isUnknown = (name: string): boolean =>
    user[name] !== undefined &&
    !isIoredisOption(name, defaults) &&
    !KNOWN.has(name) &&
    rightName(name) === undefined
  return Object.keys(user)
    .filter(isUnknown)
    .map(
      name =>
        `${name} is not an option of ioredis, which would connect to localhost: set host and port, path, or sentinels`,
    )
}

/** Sentinels that ioredis would look for on localhost. */
export function sentinelIssues(sentinels: unknown): string[] {
  if (sentinels === undefined || sentinels === null) return []
  if (!Array.isArray(sentinels)) return ['sentinels must be a list of { host, port }']
  return sentinels.flatMap((sentinel: unknown, at) => {
    if (typeof sentinel !== 'object' || sentinel === null) return [`sentinels[${at}] must be { host, port }`]
    return foreignOptions(sentinel as Record<string, unknown>).map(issue => `sentinels[${at}].${issue}`)
  })
}
