import type { Socket } from 'node:net'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { forCaller } from '../../api/errors.ts'
import type { PoolOptions } from '../../api/options/options.ts'
import type { Pool } from '../../pool/pool.ts'
import { openAdapter } from '../open-adapter.ts'
import { socketFactory } from './factory.ts'
import { checkedTarget, type SocketTarget } from './target.ts'

export type { SocketTarget }

/**
 * Creates a pool of connected sockets: plain or TLS, over TCP or a Unix socket.
 *
 * A socket is lent with nothing read from it and nothing left to send. Whatever its last borrower changed on it is
 * undone. The borrower has to do what the protocol needs before the first request, such as a login or reading a
 * greeting. If the server sends data while a connection is idle, that connection is closed.
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
