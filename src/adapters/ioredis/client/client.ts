import type { Socket } from 'node:net'
import { closeSocket } from '../../../sockets/socket-state.ts'
import type { CommandQueue, Connector, RedisClient } from './client-types.ts'
import { watchErrorReplies } from './error-replies.ts'
import { guardReplies, silence } from './reply-guard.ts'

/** What the type of ioredis keeps private, and what it has no name for. Each is undefined if a version lacks it. */
interface Internals {
  readonly connector?: Connector
  readonly offlineQueue?: CommandQueue
  flushQueue?(...args: unknown[]): void
  readonly socketTimeoutTimer?: ReturnType<typeof setTimeout>
}

const internals = (client: RedisClient): Internals => client as unknown as Internals

/** Is that an ioredis client, of whatever version or copy, and not a cluster of them? */
export function isRedisClient(value: unknown): value is RedisClient {
  if (typeof value !== 'object' || value === null) return false
  const { status, options, isCluster, connect, disconnect, ping, on } = value as Partial<RedisClient>
  const hasMethods = [connect, disconnect, ping, on].every(method => typeof method === 'function')
  return hasMethods && typeof status === 'string' && typeof options === 'object' && isCluster === false
}

/** The client's socket; the connector has it a few microtasks before the client. */
export function streamOf(client: RedisClient): Socket | undefined {
  return (client.stream as Socket | undefined) ?? internals(client).connector?.stream
}

export const connectorOf = (client: RedisClient): Connector | undefined => internals(client).connector

/** Has the client commands without an answer? */
export function isBusy(client: RedisClient): boolean {
  return client.commandQueue.length > 0 || client.autoPipelineQueueSize > 0
}

/**
 * Ends the client in this tick, whatever it is doing: the socket is closed, a dial that has no socket yet gets none,
 * ioredis reconnects no more and no timer of its own is left. Its commands are rejected once the socket's `close`
 * has been emitted. Safe to call again.
 */
export function destroyClient(client: RedisClient): void {
  const stream = streamOf(client)
  const { offlineQueue, socketTimeoutTimer } = internals(client)
  ignoreReplies(client.commandQueue)
  ignoreReplies(offlineQueue)
  silence(client)
  // Without a stream `disconnect` does no more than it should: it forbids a reconnect and calls a dial off. With one
  // it would half-close it and set a timer that holds the process; on a closed stream nothing would ever clear that.
  // ioredis calls it again by itself, when the close of the socket fails a command of the handshake.
  forgetStream(client)
  if (client.status !== 'end') client.disconnect()
  if (stream !== undefined) closeSocket(stream)
  asked.get(client)?.sentinels.forEach(destroyClient)
  // ioredis 5 leaves this one running.
  clearTimeout(socketTimeoutTimer)
}

/** Ends the client as {@link destroyClient} does; its commands are rejected at once, and with this error. */
export function destroyWithError(client: RedisClient, error: Error): void {
  ignoreReplies(client.commandQueue)
  internals(client).flushQueue?.call(client, error)
  destroyClient(client)
}

/**
 * Takes the commands that are cut off here out of Node's sight as unhandled: whoever awaits one still sees it fail,
 * but one that was sent and forgotten must not bring the process down because the pool closed its connection.
 */
function ignoreReplies(queue: CommandQueue | undefined): void {
  for (let index = 0; queue !== undefined && index < queue.length; index += 1) {
    const { command } = queue.peekAt(index) as { command?: { promise?: Promise<unknown> } }
    command?.promise?.catch(() => {})
  }
}

interface Asked {
  /** Clients that wait for the answer of a sentinel. */
  readonly sentinels: Set<RedisClient>
  lastError: unknown
}

const asked = new WeakMap<RedisClient, Asked>()

/**
 * Keeps hold of the clients by which ioredis asks sentinels for an address. It makes one for each question and ends
 * it softly, so that a silent sentinel would keep a socket, and a timer the process, after the dial was called off.
 */
export function watchSentinels(client: RedisClient): void {
  const { connector } = internals(client)
  const connectToSentinel = connector?.connectToSentinel
  if (connector === undefined || typeof connectToSentinel !== 'function') return
  const ours: Asked = { sentinels: new Set(), lastError: undefined }
  asked.set(client, ours)
  connector.connectToSentinel = (...args) => {
    const sentinel = connectToSentinel.apply(connector, args)
    ours.sentinels.add(sentinel)
    guardSentinel(sentinel)
    sentinel.on('error', error => {
      ours.lastError = error
    })
    sentinel.once('end', () => {
      ours.sentinels.delete(sentinel)
      // See sever: ioredis calls `disconnect` on it once more.
      forgetStream(sentinel)
    })
    return sentinel
  }
}

/** The sentinels were asked by others on behalf of this client. */
export function sentinelsFailed(client: RedisClient, error: unknown): void {
  const ours = asked.get(client)
  if (ours !== undefined) ours.lastError = error
}

/** Why the last sentinel did not answer. ioredis says no more than that the connection closed. */
export function sentinelError(client: RedisClient): unknown {
  return asked.get(client)?.lastError
}

function forgetStream(client: RedisClient): void {
  const { connector } = internals(client)
  if (connector !== undefined) connector.stream = undefined
}

/** Makes a client to a sentinel, as ioredis would do to ask it for an address, but for these options. */
export function sentinelClient(client: RedisClient, endpoint: unknown, options: object): RedisClient {
  const { connector } = internals(client)
  // Not the method of this very connector: its clients belong to the one that asks, and end with it.
  const prototype: Connector = Object.getPrototypeOf(connector)
  const sentinel = prototype.connectToSentinel?.call(connector, endpoint, options) as RedisClient
  guardSentinel(sentinel)
  return sentinel
}

/** A client to a sentinel is as exposed as a pooled one. */
function guardSentinel(sentinel: RedisClient): void {
  watchErrorReplies(sentinel)
  sentinel.once('connect', () => guardReplies(sentinel))
  sentinel.on('error', () => destroyClient(sentinel))
}

/** The socket's timeout of `disconnect()` was copied when the client was made. */
export function setDisconnectTimeout(client: RedisClient, millis: number): void {
  const { connector } = internals(client)
  if (connector !== undefined && 'disconnectTimeout' in connector) connector.disconnectTimeout = millis
}
