import type { Socket } from 'node:net'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { createStrictPool } from '../create.ts'
import type { Factory, PoolOptions } from '../types.ts'
import { socketFactory } from './net/factory.ts'
import { checkedTarget, type SocketTarget } from './net/target.ts'

export type { SocketTarget }

type SocketPool<S extends Socket> = ReturnType<typeof createStrictPool<S>>

/**
 * Makes a pool of connected sockets, plain or TLS, TCP or Unix.
 *
 * A socket is lent with nothing read from it and nothing left to send. What a protocol needs before the first request
 * (a login, a greeting to be read) is the borrower's; a server that speaks while a connection is idle spoils it.
 *
 * @param target - where to connect: `{ port }`, `{ host, port }` or `{ path }`, with `tls` if wanted
 * @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong with the target
 */
export function createSocketPool(
  target: SocketTarget & { tls: true | ConnectionOptions },
  options?: PoolOptions,
): SocketPool<TLSSocket>
export function createSocketPool(
  target: SocketTarget & { tls?: false | undefined },
  options?: PoolOptions,
): SocketPool<Socket>
export function createSocketPool(target: SocketTarget, options?: PoolOptions): SocketPool<Socket>
export function createSocketPool(target: SocketTarget, options?: PoolOptions): unknown {
  return createStrictPool(socketFactory(checkedTarget(target)) as Factory<Socket>, options)
}
