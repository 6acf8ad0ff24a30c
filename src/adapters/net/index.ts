import type { Socket } from 'node:net'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { forCaller } from '../../api/errors.ts'
import type { PoolOptions } from '../../api/options.ts'
import type { Pool } from '../../pool/pool.ts'
import { openAdapter } from '../open-adapter.ts'
import { socketFactory } from './factory.ts'
import { checkedTarget, type SocketTarget } from './target.ts'

export type { SocketTarget }

/**
 * Makes a pool of connected sockets, plain or TLS, TCP or Unix.
 *
 * A socket is lent with nothing read from it and nothing left to send, and as it was made, whatever its last borrower did
 * to it. What a protocol needs before the first request
 * (a login, a greeting to be read) is the borrower's; a server that speaks while a connection is idle spoils it.
 *
 * @param target - where to connect: `{ port }`, `{ host, port }` or `{ path }`, with `tls` if wanted
 * @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong with the target and the options
 */
export function createSocketPool(
  target: SocketTarget & { tls: true | ConnectionOptions },
  options?: PoolOptions,
): Pool<TLSSocket>
export function createSocketPool(
  target: SocketTarget & { tls?: false | undefined },
  options?: PoolOptions,
): Pool<Socket>
export function createSocketPool(target: SocketTarget, options?: PoolOptions): Pool<Socket>
export function createSocketPool(target: SocketTarget, options?: PoolOptions): unknown {
  return forCaller(createSocketPool, () => openAdapter(() => socketFactory(checkedTarget(target)), options))
}
