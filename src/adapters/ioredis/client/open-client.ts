import type { Socket } from 'node:net'
import { isPoolError, messageOf, PoolError } from '../../../api/errors.ts'
import { noteProgress } from '../../../api/messages/causes.ts'
import { hostPort } from '../../../api/messages/wording.ts'
import { badOptions } from '../../../api/options/resolve-options.ts'
import { onAbort } from '../../../runtime/abort.ts'
import { closeSocket, isHealthy } from '../../../sockets/socket-state.ts'
import { SHOWN_BRIEFLY } from './brief.ts'
import { destroyClient, isRedisClient, sentinelError, streamOf, watchSentinels } from './client.ts'
import { forceOptions } from './client-options.ts'
import type { RedisClient } from './client-types.ts'
import { connectWithoutInfo, readRefusal } from './handshake.ts'
import { isReplyError, refusalOf, watchErrorReplies } from './replies/error-replies.ts'
import { guardReplies } from './replies/reply-guard.ts'
import { keepInfo } from './role.ts'

/** Clients that a pool of this process owns or has owned. */
const taken = new WeakSet<RedisClient>()

/**
 * Creates a client and waits until it is ready.
 *
 * Rejects with the error that ioredis reported. Any `error` event before the client is ready counts as a failure,
 * because ioredis otherwise continues without the configured database or password. Whenever this fails, the socket is
 * closed in the same tick.
 *
 * @throws PoolError `POOL_CONNECT_FAILED` if no error was reported, only silence until the signal, or a close;
 * `POOL_BAD_OPTIONS` if `make` returned something that cannot be pooled
 */
export async function openClient<R extends RedisClient>(
  make: () => R,
  signal: AbortSignal,
  onMade: (client: R) => void,
  isTerse: boolean,
): Promise<R> {
  signal.throwIfAborted()
  const client = adopt(make(), isTerse)
  onMade(client)
  await ready(client, signal)
  return client
}

/** Takes the client into the pool's ownership, or ends it. */
function adopt<R extends RedisClient>(client: R, isTerse: boolean): R {
  if (!isRedisClient(client))
    throw badOptions([`the function must return an ioredis client, ${whatIs(client)}`])
  if (taken.has(client)) {
    throw badOptions([
      'the function returned a client that a pool already has: it must make a new one each time',
    ])
  }
  taken.add(client)
  client.on('error', onFault)
  watchErrorReplies(client)
  // Installed at `connect`, because ioredis gives the client a new queue before that.
  client.once('connect', onConnect)
  if (client.status === 'connect' || client.status === 'ready') guardReplies(client)
  watchSentinels(client)
  connectWithoutInfo(client)
  keepInfo(client)
  try {
    forceOptions(client, isTerse)
  } catch (error) {
    destroyClient(client)
    throw error
  }
  return Object.defineProperties(client, SHOWN_BRIEFLY)
}

/** Describes a value that is not a client, and ends it if it may hold a connection. */
function whatIs(value: unknown): string {
  const other = value as { isCluster?: unknown; then?: unknown } & RedisClient
  if (other?.isCluster === true) {
    other.on('error', () => {})
    other.disconnect()
    return 'not a cluster: createRedisClusterPool lends connections to the nodes of one'
  }
  if (typeof other?.then === 'function') {
    Promise.resolve(value).then(
      late => isRedisClient(late) && !taken.has(late) && destroyClient(late),
      () => {},
    )
    return 'not a promise of one: await in the options prepare and credentials, not here'
  }
  return value === null || typeof value !== 'object' ? `not ${value}` : 'not some other object'
}

/**
 * Ends the client for good. After a reply that matches no command, ioredis would stay `ready` and give every later
 * reply to the wrong command.
 */
function onFault(this: RedisClient): void {
  destroyClient(this)
}

function onConnect(this: RedisClient): void {
  guardReplies(this)
  readRefusal(this)
}

function onPeerClosed(this: Socket): void {
  closeSocket(this)
}

function ready(client: RedisClient, signal: AbortSignal): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    let settled = false
    let stop = (): void => {}
    const settle = (): void => {
      settled = true
      client.off('error', onError)
      client.off('ready', onReady)
      client.off('end', onEnd)
      stop()
    }
    const onError = (error: unknown): void => {
      settle()
      const reached = `${progress(client)}${tlsHint(client)}`
      // Must happen here, not where the promise is awaited: the socket must not outlive this tick.
      destroyClient(client)
      const deeper = sentinelError(client)
      if (deeper !== undefined && error instanceof Error) error.cause ??= deeper
      // The server's reason arrives before the end of the socket, which may be all that ioredis reports.
      const isComplete = isPoolError(error) && error.code !== 'POOL_BAD_REPLY'
      const refused = refusalOf(client) !== undefined && !isReplyError(error) && !isComplete
      if (!refused) addProgress(error, client, reached)
      reject(refused ? failed(client, messageOf(error), error) : error)
    }
    const onEnd = (cause?: unknown): void =>
      onError(failed(client, `the connection was closed ${progress(client)}${tlsHint(client)}`, cause))
    const giveUp = (): void => {
      const reached = progress(client)
      const hint = isShakingHands(client) ? NO_TLS : ''
      const what = `given up ${reached} (${messageOf(signal.reason)})${hint}`
      onError(noteProgress(failed(client, what, signal.reason), reached))
    }
    const onReady = (): void => {
      const stream = streamOf(client)
      // ioredis 5 also becomes ready on a socket that has already ended.
      if (stream === undefined || !isHealthy(stream)) onEnd()
      else {
        stream.once('end', onPeerClosed)
        settle()
        resolve()
      }
    }
    client.on('error', onError)
    client.on('ready', onReady)
    client.on('end', onEnd)
    stop = onAbort(signal, giveUp)
    if (settled) return
    if (client.status === 'ready') onReady()
    else if (client.status === 'wait') {
      client.connect().catch((reason: unknown) => {
        // The true cause was an earlier event. Without one, this error mostly says only that the connection was closed.
        if (!settled) (reason instanceof TypeError ? onError : onEnd)(reason)
      })
    } else if (client.status !== 'connecting' && client.status !== 'connect') {
      onError(
        badOptions([`the function returned a client that is '${client.status}'; it must return a new one`]),
      )
    }
  })
}

export function failed(client: RedisClient, what: string, cause: unknown): PoolError {
  const { sentinels, name, path, host, port } = client.options as Record<string, unknown>
  const target = sentinels ? `'${name}' by way of its sentinels` : (path ?? hostPort(host, port))
  const refusal = refusalOf(client)
  // First, because a long message is cut.
  const said = refusal === undefined ? '' : `the server said: ${refusal.message}; `
  const because = refusal ?? cause
  return new PoolError(
    'POOL_CONNECT_FAILED',
    `connecting to Redis at ${target}: ${said}${what}`,
    because === undefined ? {} : { cause: because },
  )
}

/** What to check if the server has sent nothing on a connection without TLS. */
function tlsHint(client: RedisClient): string {
  const stream = streamOf(client)
  if (stream === undefined || stream.connecting || stream.bytesRead > 0) return ''
  return 'encrypted' in stream ? '' : '. If it expects TLS, use rediss:// or the option tls'
}

const NO_TLS = '. If it does not use TLS at this port, leave TLS out: redis:// and no option tls'

/** Is the TLS handshake in progress? */
function isShakingHands(client: RedisClient): boolean {
  const stream = streamOf(client)
  return client.status === 'connecting' && stream !== undefined && !stream.connecting && 'encrypted' in stream
}

/**
 * Adds to the error of a socket that the peer has closed how far connecting had got. It stays that error, with its code.
 * (If a TLS handshake was in progress, Node says so itself.)
 */
function addProgress(error: unknown, client: RedisClient, reached: string): void {
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (!(error instanceof Error) || (code !== 'ECONNRESET' && code !== 'EPIPE') || isShakingHands(client))
    return
  error.message = `${message} ${reached}`
}

/** Describes how far connecting has got. */
function progress(client: RedisClient): string {
  const stream = streamOf(client)
  if (stream === undefined) return 'before there was a socket'
  if (client.status === 'connecting') {
    return isShakingHands(client)
      ? 'after TCP was connected, during the TLS handshake'
      : 'before TCP was connected'
  }
  if (stream.bytesRead === 0) return 'after TCP was connected, with no reply to the handshake'
  const loading =
    client.status === 'connect' && client.commandQueue.length === 0
      ? ', while the server was loading its data'
      : ''
  return `after ${stream.bytesRead} bytes of reply to the handshake${loading}`
}
