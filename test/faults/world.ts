/* One server of its own, what is between it and the pool, and the pool. */

import dns from 'node:dns'
import { join } from 'node:path'
import { Redis, type RedisOptions } from 'ioredis'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import type { Pool } from '../../src/pool/pool.ts'
import { guardedDirectory } from '../support/orphan-guard.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { tlsCertificate, tlsKey } from '../support/tls.ts'
import { type Network, openNetwork } from './network.ts'
import { FaultProxy } from './proxy.ts'

export const TRANSPORTS = ['plain', 'tls', 'unix'] as const
export type Transport = (typeof TRANSPORTS)[number]

/** Where a host name leads to. */
const NAMES = new Map<string, string>()
const { lookup } = dns
dns.lookup = ((host: string, options: object, done: (...all: unknown[]) => void) => {
  const address = NAMES.get(host)
  if (address === undefined) return lookup(host, options as never, done as never)
  const all = (options as { all?: boolean }).all === true
  process.nextTick(() => (all ? done(null, [{ address, family: 4 }]) : done(null, address, 4)))
}) as never

/** No command of the operator takes longer. Milliseconds. */
const OPERATOR_MILLIS = 5000

let names = 0
let sockets = 0

export class FaultWorld {
  readonly pool: Pool<Redis>
  readonly proxy: FaultProxy | undefined
  readonly network: Network | undefined
  server: RedisServer | undefined
  /** The name by which the pool connects. */
  readonly name: string
  readonly #admin: Redis | undefined
  readonly #restart: () => Promise<RedisServer>
  readonly #created = { opened: 0, closed: 0 }

  private constructor(parts: {
    pool: Pool<Redis>
    proxy: FaultProxy | undefined
    network: Network | undefined
    server: RedisServer | undefined
    admin: Redis | undefined
    name: string
    restart: () => Promise<RedisServer>
  }) {
    this.pool = parts.pool
    this.proxy = parts.proxy
    this.network = parts.network
    this.server = parts.server
    this.#admin = parts.admin
    this.name = parts.name
    this.#restart = parts.restart
    this.pool.on('connect', () => {
      this.#created.opened += 1
    })
    this.pool.on('destroy', () => {
      this.#created.closed += 1
    })
  }

  /** @returns why there is none, if so */
  static async open(transport: Transport, needsNetwork: boolean): Promise<FaultWorld | string> {
    names += 1
    const name = `fault-${names}.test`
    const common: RedisOptions = { commandTimeout: 1500, connectTimeout: 3000 }
    if (needsNetwork) {
      const network = await openNetwork()
      if (typeof network === 'string') return network
      const pool = poolOf({ ...common, host: network.host, port: network.port })
      const restart = (): never => {
        throw new Error('not in a namespace')
      }
      return new FaultWorld({
        pool,
        network,
        name,
        restart,
        proxy: undefined,
        server: undefined,
        admin: undefined,
      })
    }
    const isTls = transport === 'tls'
    const isUnix = transport === 'unix'
    const tls = isTls ? { tls: { key: tlsKey, cert: tlsCertificate } } : {}
    const conf = {
      'enable-debug-command': 'yes',
      'loading-process-events-interval-bytes': '1024',
      'repl-diskless-sync-delay': '0',
    }
    const start = (port?: number): Promise<RedisServer> =>
      startRedis(port === undefined ? conf : { ...conf, port: String(port) }, { ...tls, unixsocket: isUnix })
    const server = await start()
    sockets += 1
    const path = isUnix ? join(guardedDirectory(), `proxy-${sockets}.sock`) : undefined
    const target = { host: '127.0.0.1', port: server.port }
    const proxy = new FaultProxy(target, path)
    await proxy.listen()
    NAMES.set(name, '127.0.0.1')
    const secure: RedisOptions = isTls ? { tls: { ca: tlsCertificate, servername: 'localhost' } } : {}
    const { address } = proxy
    const place: RedisOptions =
      'path' in address ? { path: address.path } : { host: name, port: address.port }
    const pool = poolOf({ ...common, ...secure, ...place })
    // ioredis may lose a command to a connection that is just being closed: then it fails, instead of never settling.
    const unlost: RedisOptions = { maxRetriesPerRequest: 0, commandTimeout: OPERATOR_MILLIS }
    const direct: RedisOptions = { ...target, ...secure, ...unlost, lazyConnect: true }
    const admin = new Redis({ ...direct, retryStrategy: () => 50 } as never)
    admin.on('error', () => {})
    await admin.connect()
    return new FaultWorld({
      ...{ pool, proxy, server, admin, name, network: undefined },
      restart: () => start(server.port),
    })
  }

  get opened(): number {
    return this.#created.opened - this.#created.closed
  }

  /** A command of the operator, not through the pool. */
  command(name: string, ...words: (string | number)[]): Promise<unknown> {
    return (this.#admin as Redis).call(name, ...words)
  }

  async kill(): Promise<void> {
    await this.server?.stop()
  }

  async start(): Promise<void> {
    this.server = await this.#restart()
  }

  resolveTo(address: string): void {
    NAMES.set(this.name, address)
  }

  async stop(): Promise<void> {
    this.#admin?.disconnect()
    this.proxy?.stop()
    this.network?.stop()
    await this.server?.stop()
    NAMES.delete(this.name)
  }
}

const poolOf = (options: RedisOptions): Pool<Redis> =>
  createRedisPool(options, {
    ...{ max: 3, name: 'faults', validateAfterIdleMillis: 60 },
    ...{ acquireTimeoutMillis: 1500, createTimeoutMillis: 700, validateTimeoutMillis: 400 },
    ...{ resetTimeoutMillis: 500, destroyTimeoutMillis: 500, drainTimeoutMillis: 1500 },
  })
