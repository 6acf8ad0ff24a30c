/** Options of other Redis clients, or of older versions of ioredis: their name in ioredis, or what to do instead. */
const FOREIGN: Readonly<Record<string, string>> = {
  url: 'pass the URL itself as the first argument: createRedisPool(url, …)',
  uri: 'pass the URL itself as the first argument: createRedisPool(url, …)',
  connectionstring: 'pass the URL itself as the first argument: createRedisPool(url, …)',
  socket: 'pass its host, port, path and tls by themselves, beside the others',
  hostname: 'it is called host',
  server: 'it is called host',
  address: 'it is called host, and port',
  addr: 'it is called host, and port',
  database: 'it is called db',
  dbindex: 'it is called db',
  dbnumber: 'it is called db',
  selecteddb: 'it is called db',
  user: 'it is called username',
  authuser: 'it is called username',
  auth_user: 'it is called username',
  auth_pass: 'it is called password',
  authpass: 'it is called password',
  auth: 'it is called password, and username',
  pass: 'it is called password',
  passwd: 'it is called password',
  pwd: 'it is called password',
  ssl: 'it is called tls',
  unixsocket: 'it is called path',
  socketpath: 'it is called path',
  sentinel: 'it is called sentinels, a list',
  mastername: 'it is called name',
  sentinelname: 'it is called name',
  sentinelrootnodes: 'it is called sentinels',
  nodes: 'a cluster cannot be pooled as one: make a pool for each node',
  rootnodes: 'a cluster cannot be pooled as one: make a pool for each node',
  startupnodes: 'a cluster cannot be pooled as one: make a pool for each node',
  cluster: 'a cluster cannot be pooled as one: make a pool for each node',
  clusternodes: 'a cluster cannot be pooled as one: make a pool for each node',
  prefix: 'it is called keyPrefix',
  key_prefix: 'it is called keyPrefix',
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

function rightName(name: string): string | undefined {
  if (LEADING.includes(name)) return undefined
  const lower = name.toLowerCase()
  const known = LEADING.find(known => known.toLowerCase() === lower)
  return known === undefined ? FOREIGN[lower] : `it is called ${known}`
}
