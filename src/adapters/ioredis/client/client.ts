import type { Socket } from 'node:net'
import { closeSocket } from '../../../sockets/socket-state.ts'
import type { CommandQueue, Connector, RedisClient } from './client-types.ts'
import { watchErrorReplies } from './replies/error-replies.ts'
import { guardReplies, silence } from './replies/reply-guard.ts'

/** Private members of ioredis that the adapter uses. Each is undefined if a version lacks it. */
interface Internals {
  readonly connector?: Connector
  readonly offlineQueue?: CommandQueue
  flushQueue?(...args: unknown[]): void
  readonly socketTimeoutTimer?: ReturnType<typeof setTimeout>
}

const internals = (client: RedisClient): Internals => client as unknown as Internals

/** Is the value an ioredis client, of any version or copy of ioredis, and not a cluster? */
export function isRedisClient(value: unknown): value is RedisClient {
  if (typeof value !== 'object' || value === null) return false
  const { status, options, isCluster, connect, disconnect, ping, on } = value as Partial<RedisClient>
  const hasMethods = [connect, disconnect, ping, on].every(method => typeof method === 'function')
  return hasMethods && typeof status === 'string' && typeof options === 'object' && isCluster === false
}

/** The client's socket. The connector has it a few microtasks before the client does. */
export function streamOf(client: RedisClient): Socket | undefined {
  return (client.stream as Socket | undefined) ?? internals(client).connector?.stream
}

export const connectorOf = (client: RedisClient): Connector | undefined => internals(client).connector

/** Has the client commands without an answer? */
export function isBusy(client: RedisClient): boolean {
  return client.commandQueue.length > 0 || client.autoPipelineQueueSize > 0
}

/**
 * Ends the client in this tick, whatever it is doing: closes the socket, prevents a connect in progress from getting
 * one, stops ioredis from reconnecting, and leaves no timer of ioredis running. Commands are rejected once the socket
 * has emitted `close`. Safe to call again.
 */
export function destroyClient(client: RedisClient): void {
  const stream = streamOf(client)
  const { offlineQueue, socketTimeoutTimer } = internals(client)
  ignoreReplies(client.commandQueue)
  ignoreReplies(offlineQueue)
  silence(client)
  // `disconnect` must not see the stream. Without one it only prevents a reconnect and cancels a connect in progress.
  // With one it would half-close it and set a timer that keeps the process alive; on a closed stream nothing would ever
  // clear that timer. ioredis calls `disconnect` again itself when the close of the socket fails a command of the
  // handshake.
  forgetStream(client)
  if (client.status !== 'end') client.disconnect()
  if (stream !== undefined) closeSocket(stream)
  lookups.get(client)?.sentinels.forEach(destroyClient)
  // ioredis 5 leaves this timer running.
  clearTimeout(socketTimeoutTimer)
}

/** Ends the client as {@link destroyClient} does, but rejects its commands at once and with this error. */
export function destroyWithError(client: RedisClient, error: Error): void {
  ignoreReplies(client.commandQueue)
  internals(client).flushQueue?.call(client, error)
  destroyClient(client)
}

/**
 * Keeps commands that are cut off here from becoming unhandled rejections. Code that awaits such a command still sees
 * it fail. But a command whose promise was ignored must not crash the process because the pool closed its connection.
 */
function ignoreReplies(queue: CommandQueue | undefined): void {
  for (let index = 0; queue !== undefined && index < queue.length; index += 1) {
    const { command } = queue.peekAt(index) as { command?: { promise?: Promise<unknown> } }
    command?.promise?.catch(() => {})
  }
}

interface SentinelLookup {
  /** Clients that wait for a sentinel's answer. */
  readonly sentinels: Set<RedisClient>
  lastError: unknown
}

const lookups = new WeakMap<RedisClient, SentinelLookup>()

/**
 * Keeps track of the clients with which ioredis asks sentinels for an address. ioredis creates one per question and
 * ends it gracefully. Without this, a silent sentinel would hold a socket, and a timer that keeps the process alive,
 * after the connect was cancelled.
 */
export function watchSentinels(client: RedisClient): void {
  const { connector } = internals(client)
  const connectToSentinel = connector?.connectToSentinel
  if (connector === undefined || typeof connectToSentinel !== 'function') return
  const ours: SentinelLookup = { sentinels: new Set(), lastError: undefined }
  lookups.set(client, ours)
  connector.connectToSentinel = (...args) => {
    const sentinel = connectToSentinel.apply(connector, args)
    ours.sentinels.add(sentinel)
    guardSentinel(sentinel)
    sentinel.on('error', error => {
      ours.lastError = error
    })
    sentinel.once('end', () => {
      ours.sentinels.delete(sentinel)
      // See {@link destroyClient}: ioredis calls `disconnect` on it once more.
      forgetStream(sentinel)
    })
    return sentinel
  }
}

/** Records why the sentinels could not be asked, where the pool asks them for this client. */
export function sentinelsFailed(client: RedisClient, error: unknown): void {
  const ours = lookups.get(client)
  if (ours !== undefined) ours.lastError = error
}

/** Why the last sentinel did not answer. ioredis itself only reports that the connection was closed. */
export function sentinelError(client: RedisClient): unknown {
  return lookups.get(client)?.lastError
}

function forgetStream(client: RedisClient): void {
  const { connector } = internals(client)
  if (connector !== undefined) connector.stream = undefined
}

/** Creates a client to a sentinel, as ioredis does to ask for an address, with these options on top. */
export function sentinelClient(client: RedisClient, endpoint: unknown, options: object): RedisClient {
  const { connector } = internals(client)
  // Uses the prototype's method, not the connector's own, which `watchSentinels` may have replaced: that one ties the
  // sentinel's client to the client that asks, and ends both together.
  const prototype: Connector = Object.getPrototypeOf(connector)
  const sentinel = prototype.connectToSentinel?.call(connector, endpoint, options) as RedisClient
  guardSentinel(sentinel)
  return sentinel
}

/** Guards a client to a sentinel like a pooled one: what a sentinel sends must not end the process either. */
function guardSentinel(sentinel: RedisClient): void {
  watchErrorReplies(sentinel)
  sentinel.once('connect', () => guardReplies(sentinel))
  sentinel.on('error', () => destroyClient(sentinel))
}

/** Sets the time that `disconnect()` waits for the socket. ioredis copied it when the client was created. */
export function setDisconnectTimeout(client: RedisClient, millis: number): void {
  const { connector } = internals(client)
  if (connector !== undefined && 'disconnectTimeout' in connector) connector.disconnectTimeout = millis
}
