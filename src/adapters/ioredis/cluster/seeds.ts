import type { RedisOptions } from 'ioredis'
import { wholeTo } from '../../../api/options/option-table.ts'
import { isRecord, readRecord, show } from '../../../api/options/read-input.ts'
import { ENCODE } from '../client/client-options.ts'
import { rightName } from '../client/foreign-options.ts'
import type { Address } from '../failover/addresses.ts'

/** A node to begin with: `host:port`, a URL, a port of this host, or its parts. One that is alive is enough. */
export type ClusterSeed =
  | string
  | number
  | { readonly host?: string | undefined; readonly port?: number | undefined }

/** The nodes to begin with, checked, and what their URLs say of all nodes. */
interface Seeds {
  readonly seeds: readonly Address[]
  readonly login: Pick<RedisOptions, 'username' | 'password' | 'tls'>
}

/** What the URL of a node says beside its address. */
interface Login {
  readonly username: string | undefined
  readonly password: string | undefined
  readonly isTls: boolean
}

interface Seed extends Address {
  readonly login?: Login
}

/** Reads one node, and says in `issues` what is wrong with it. */
type Reader<T> = (given: T, label: string, issues: string[]) => Seed | undefined

const FORMS = "'host:port', a URL (redis:// or rediss://), a port or { host, port }"
const PORT = wholeTo(1, 65_535)

/** Why another database is refused. Clusters of Valkey 9 may have several; this pool does not use them. */
export const ONE_DATABASE = 'this pool uses database 0 of a cluster, the only one that Redis has there'

/**
 * Reads the first argument of `createRedisClusterPool`. A user, a password and TLS in a URL are those of all nodes.
 *
 * @param redis - the option `redisOptions`
 */
export function readSeeds(given: unknown, redis: Readonly<Record<string, unknown>>, issues: string[]): Seeds {
  const nodes: readonly unknown[] = Array.isArray(given) ? given : [given]
  if (nodes.length === 0) issues.push('nodes must name at least one node of the cluster')
  const logins = new Map<string, Login>()
  const seeds = nodes.flatMap((node, at) => {
    const label = Array.isArray(given) ? `nodes[${at}]` : 'nodes'
    const seed = readSeed(node, label, issues)
    if (seed?.login !== undefined) logins.set(label, seed.login)
    return seed === undefined ? [] : [{ host: seed.host, port: seed.port }]
  })
  return { seeds, login: oneLogin(logins, redis, issues) }
}

const readSeed: Reader<unknown> = (node, label, issues) => {
  if (typeof node === 'string') return readText(node.trim(), label, issues)
  if (typeof node === 'number') {
    if (PORT.ok(node)) return { host: '127.0.0.1', port: node }
    issues.push(`${label} must be a port from 1 to 65535, got ${node}`)
  } else if (isRecord(node)) return readParts(node, label, issues)
  else {
    const hint =
      node instanceof URL ? ': pass url.href' : node === undefined ? ': is the environment variable set?' : ''
    issues.push(`${label} must be ${FORMS}, got ${show(node)}${hint}`)
  }
  return undefined
}

const readParts: Reader<Record<string, unknown>> = (given, label, issues) => {
  if ('isCluster' in given) {
    issues.push(`${label} is a client: pass the addresses of nodes`)
    return undefined
  }
  const before = issues.length
  const { host = '127.0.0.1', port = 6379, ...others } = readRecord(given, undefined, issues)
  for (const name of Object.keys(others)) issues.push(`${label}.${name} ${elsewhere(name)}`)
  if (
    others.url === undefined &&
    given.host === undefined &&
    given.port === undefined &&
    issues.length === before
  )
    issues.push(`${label} has neither host nor port`)
  if (typeof host !== 'string' || host === '' || /[/@]/.test(host))
    issues.push(
      `${label}.host must be the name or the address of a host${typeof host === 'string' ? '' : `, got ${show(host)}`}`,
    )
  if (!PORT.ok(port)) issues.push(`${label}.port must be ${PORT.want}, got ${show(port)}`)
  return issues.length > before ? undefined : { host: withoutBrackets(host as string), port: port as number }
}

/** Where a field belongs that a node does not have here. */
function elsewhere(name: string): string {
  if (/^(?:ur[il]|connectionstring)$/i.test(name)) return 'has no meaning: pass the URL itself in its place'
  if (/nodes$/i.test(name)) return 'has no meaning: pass the nodes themselves as the first argument'
  if (/^redisoptions$/i.test(name))
    return 'belongs in the second argument: createRedisClusterPool(nodes, { redisOptions })'
  const right = rightName(name)
  if (right !== undefined && /it is called (?:host|port)/.test(right)) return `is not known: ${right}`
  return 'is not known: what concerns all nodes belongs in redisOptions'
}

const readText: Reader<string> = (text, label, issues) => {
  const refuse = (why: string): undefined => {
    issues.push(`${label} ${why}`)
  }
  if (text === '') return refuse(`must be ${FORMS}, got an empty text: is the environment variable set?`)
  if (/^["']/.test(text))
    return refuse('begins with a quote: remove the quotes from the text or the environment variable')
  const [, scheme] = /^([a-z][\w+.-]*):\/\//i.exec(text) ?? []
  if (scheme === undefined) return readHostPort(text, label, issues)
  if (!/^rediss?$/i.test(scheme))
    return refuse(
      `begins with ${scheme}://, which is not a Redis scheme: a URL must begin with redis:// or rediss://`,
    )
  if (text.includes('#')) return refuse(`contains a #: ${ENCODE}`)
  if (!URL.canParse(text))
    return refuse(isList(text) ? A_LIST : `is no URL that can be read: remove spaces, and ${ENCODE}`)
  const url = new URL(text)
  if (url.hostname === '') return refuse('names no host')
  if (isList(url.hostname)) return refuse(A_LIST)
  const login = loginOf(url)
  if (login === undefined) return refuse(`has a user or a password that cannot be read: ${ENCODE}`)
  const before = issues.length
  issues.push(...pathIssues(url).map(issue => `${label} ${issue}`))
  const port = Number(url.port || 6379)
  if (!PORT.ok(port)) refuse(`has the port ${port}: it must be ${PORT.want}`)
  return issues.length > before ? undefined : { host: withoutBrackets(url.hostname), port, login }
}

const readHostPort: Reader<string> = (text, label, issues) => {
  const [, bracketed, host = bracketed, port] = /^(?:\[(.+)\]|([^:/@,\s]+)):(\d+)$/.exec(text) ?? []
  if (host !== undefined && PORT.ok(Number(port))) return { host, port: Number(port) }
  // What is in front of an @ may be a password.
  if (text.includes('@'))
    issues.push(`${label} has a user or a password: begin it with redis:// or rediss://`)
  else if (isList(text)) issues.push(`${label} ${A_LIST}`)
  else issues.push(`${label} must be ${FORMS}, got ${show(text)}`)
  return undefined
}

const isList = (text: string): boolean => text.includes(',')
const A_LIST = "has a comma: pass several nodes as a list, nodes.split(',')"
const withoutBrackets = (host: string): string => host.replace(/^\[(.*)\]$/, '$1')

/** @returns undefined if it cannot be decoded */
function loginOf({ username, password, protocol }: URL): Login | undefined {
  const decoded = (text: string): string | undefined => (text === '' ? undefined : decodeURIComponent(text))
  try {
    return {
      username: decoded(username),
      password: decoded(password),
      isTls: protocol === 'rediss:',
    }
  } catch {
    return undefined
  }
}

/** What is behind the address. It would be ignored. */
function pathIssues({ pathname, searchParams }: URL): string[] {
  const issues: string[] = []
  const [, database] = /^\/(\d+)$/.exec(pathname) ?? []
  const others = [...new Set(searchParams.keys())].filter(name => name !== 'db')
  if ([database, ...searchParams.getAll('db')].some(each => each !== undefined && Number(each) !== 0))
    issues.push(`names a database: ${ONE_DATABASE}`)
  if (database === undefined && pathname !== '' && pathname !== '/')
    issues.push('has a path, which has no meaning here: leave it out')
  if (others.length > 0) issues.push(`has options (${others.join(', ')}): pass them in redisOptions`)
  return issues
}

/** The user, the password and TLS of all nodes. Where two say different things, none is silently preferred. */
function oneLogin(
  logins: ReadonlyMap<string, Login>,
  redis: Readonly<Record<string, unknown>>,
  issues: string[],
): Seeds['login'] {
  const all = [...logins]
  const known = all.filter(([, { username, password }]) => username !== undefined || password !== undefined)
  // A password alone is that of the user `default`.
  const users = known.map(([label, { username = 'default' }]) => [label, username] as const)
  const passwords = all.flatMap(([label, { password }]) =>
    password === undefined ? [] : [[label, password] as const],
  )
  const one = 'all nodes are used with the same one'
  differ(users, labels => issues.push(`${labels} have different users: ${one}`))
  differ(passwords, labels => issues.push(`${labels} have different passwords: ${one}`))
  differ(
    all.map(([label, { isTls }]) => [label, isTls] as const),
    labels => issues.push(`${labels} differ in TLS: begin all with redis://, or all with rediss://`),
  )
  const username = known.find(([, login]) => login.username !== undefined)?.[1].username
  const password = passwords[0]?.[1]
  const isTls = all.some(([, login]) => login.isTls)
  for (const [name, value] of Object.entries({ username, password })) {
    const other = redis[name]
    if (value !== undefined && other !== undefined && other !== null && String(other) !== value)
      issues.push(`nodes have another ${name} than redisOptions: give one of the two`)
  }
  if (isTls && (redis.tls === false || redis.tls === null))
    issues.push(`nodes begin with rediss://, and redisOptions.tls is ${redis.tls}: give one of the two`)
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(isTls && { tls: {} }),
  }
}

/** Calls `report` with the labels of two that differ. */
function differ<T>(
  all: readonly (readonly [label: string, value: T])[],
  report: (labels: string) => void,
): void {
  const [first] = all
  const other = all.find(([, value]) => value !== first?.[1])
  if (first !== undefined && other !== undefined) report(`${first[0]} and ${other[0]}`)
}
