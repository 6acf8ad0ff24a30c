import { isIP, type LookupFunction } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { breaches, flag, LONGEST_MILLIS, type Rule, text, wholeTo } from '../../api/options/option-table.ts'
import { isRecord, readRecord } from '../../api/options/read-input.ts'
import { badOptions } from '../../api/options/resolve-options.ts'

/** Where the sockets of a pool connect to, and how they are set up. Times are in milliseconds. */
export interface SocketTarget {
  /** Default `localhost`. */
  host?: string | undefined
  /** 1 to 65535. Either this or `path` is needed. */
  port?: number | undefined
  /** The path of a Unix socket, or of a named pipe on Windows. */
  path?: string | undefined
  /**
   * Whether to use TLS: `true`, or the TLS options of `tls.connect`. As with `tls.connect`, the certificate must be
   * valid for `servername`, or else for `host`. A server name is sent (SNI) only if `servername` is given.
   */
  tls?: boolean | ConnectionOptions | undefined
  /**
   * The server never answers (log collectors, metrics), so data counts as done once it is sent. Default false: bytes
   * sent after the last byte received have no answer yet, and a connection returned in that state is not lent again.
   */
  oneWay?: boolean | undefined
  /** Whether to probe idle connections, so that a peer that vanished is noticed. Default true. */
  keepAlive?: boolean | undefined
  /** Idle time before the first probe. Default 10000. Linux then gives up after at least ten more seconds. */
  keepAliveInitialDelay?: number | undefined
  /** Whether to send small writes at once. Default true. */
  noDelay?: boolean | undefined
  /** 4 or 6: use only addresses of this kind. Default 0: both. */
  family?: number | undefined
  localAddress?: string | undefined
  /** Flags for `dns.lookup`. */
  hints?: number | undefined
  /** Resolves `host` in place of `dns.lookup`. */
  lookup?: LookupFunction | undefined
  /** Whether to try the addresses of a host one after the other, as `net.connect` does. */
  autoSelectFamily?: boolean | undefined
  /** How long each of these addresses is tried. */
  autoSelectFamilyAttemptTimeout?: number | undefined
}

/** The longest time that Linux accepts for TCP_KEEPIDLE, in milliseconds. */
const LONGEST_KEEP_IDLE = 32_767_000

const RULES: Readonly<Record<keyof SocketTarget, Rule>> = {
  host: text,
  port: wholeTo(1, 65_535),
  path: text,
  tls: { want: 'true, false or the options of tls.connect', ok: value => flag.ok(value) || isRecord(value) },
  keepAlive: flag,
  keepAliveInitialDelay: wholeTo(0, LONGEST_KEEP_IDLE),
  noDelay: flag,
  oneWay: flag,
  family: { want: '0, 4 or 6', ok: value => value === 0 || value === 4 || value === 6 },
  localAddress: { want: 'an IP address', ok: value => typeof value === 'string' && isIP(value) > 0 },
  hints: wholeTo(0, LONGEST_MILLIS),
  lookup: { want: 'a function', ok: value => typeof value === 'function' },
  autoSelectFamily: flag,
  autoSelectFamilyAttemptTimeout: wholeTo(1, LONGEST_MILLIS),
}

const NAMES: ReadonlySet<string> = new Set(Object.keys(RULES))

/** Options of `tls.connect` that would bypass the pool, and what to do instead. */
const NOT_FOR_TLS: Readonly<Record<string, string>> = {
  socket: 'the pool makes the socket',
  host: 'host belongs beside tls, not in it',
  port: 'port belongs beside tls, not in it',
  path: 'path belongs beside tls, not in it',
  timeout: 'createTimeoutMillis bounds the handshake',
  signal: 'the pool has one of its own',
  allowHalfOpen: 'a half-open connection is a dead one to the pool',
  onread: 'bytes that come while a connection is idle must be seen by the pool',
}

/**
 * Checks a target.
 *
 * @returns a copy, so that later changes to the caller's object have no effect
 * @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong
 */
export function checkedTarget(given: unknown): SocketTarget {
  if (!isRecord(given)) throw badOptions(['the target must be an object: { host, port } or { path }'])
  const unread: string[] = []
  const target: Record<string, unknown> = readRecord(given, NAMES, unread)
  const issues = [
    ...unread,
    ...Object.entries(target).flatMap(([name, value]) => wrongWith(name, value)),
    ...contradictions(target),
    ...(isRecord(target.tls) ? wrongInTls(target.tls) : []),
  ]
  if (issues.length > 0) throw badOptions(issues)
  return isRecord(target.tls) ? { ...target, tls: { ...target.tls } } : target
}

function wrongWith(name: string, value: unknown): string[] {
  if (!Object.hasOwn(RULES, name)) return [`${name} is not an option of a socket`]
  return breaches(RULES[name as keyof SocketTarget], name, value)
}

function contradictions({ host, port, path }: Readonly<Record<string, unknown>>): string[] {
  if (port === undefined && path === undefined) return ['port or path is needed']
  if (path === undefined) return []
  return [
    ...(port === undefined ? [] : ['port and path exclude each other']),
    ...(host === undefined ? [] : ['host and path exclude each other']),
  ]
}

function wrongInTls(tls: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(NOT_FOR_TLS).flatMap(([name, instead]) =>
    tls[name] === undefined ? [] : [`tls.${name} is not an option: ${instead}`],
  )
}
