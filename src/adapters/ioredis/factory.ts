import { isHealthy } from '../../policy/sockets.ts'
import type { Factory } from '../../types.ts'
import { isBusy, type RedisClient, sever, streamOf } from './client.ts'
import { openClient } from './connect.ts'

/**
 * Errors to a PING that a connection in good order gives, and a new one would give as well: no permission, a server
 * that renamed the command, that cannot save to disk, or that is busy with a script. Others (LOADING, MASTERDOWN,
 * NOAUTH, …) mean that this server, or this connection, is not the right one now.
 */
const ALIVE = /^(?:NOPERM|MISCONF|BUSY|ERR unknown command)\b/

/** What the pool needs to make, check and end ioredis clients. */
export function clientFactory<R extends RedisClient>(make: () => R): Factory<R> {
  return {
    create: signal => openClient(make, signal),
    destroy: endClient,
    validate: isAlive,
    socket: streamOf,
    busy: isBusy,
    serverIdleTimeout: askIdleTimeout,
  }
}

/**
 * Closes the connection at once, without a QUIT that a dead server would never answer. Commands that wait for an
 * answer, a BLPOP for example, are rejected.
 */
async function endClient(client: RedisClient): Promise<void> {
  if (client.status === 'end') return
  const stream = streamOf(client)
  const ended = new Promise<void>(resolve => {
    client.once('end', () => resolve())
    // ioredis does not see the end of a socket whose listeners a borrower has removed.
    stream?.once('close', () => resolve())
  })
  sever(client)
  await ended
}

/** Is the connection clean, and does the server answer a PING on it? */
async function isAlive(client: RedisClient, signal: AbortSignal): Promise<boolean> {
  const stream = streamOf(client)
  if (client.status !== 'ready' || stream === undefined || !isHealthy(stream)) return false
  // RESP3 takes a PING while subscribed, and so would not tell.
  if (client.condition?.subscriber || isBusy(client) || signal.aborted) return false
  return new Promise<boolean>(resolve => {
    const onAbort = (): void => resolve(false)
    signal.addEventListener('abort', onAbort)
    const answered = (alive: boolean): void => {
      signal.removeEventListener('abort', onAbort)
      resolve(alive)
    }
    // Inside a MULTI that a borrower left open, the answer is QUEUED.
    client.ping().then(
      reply => answered(reply === 'PONG'),
      (error: unknown) => answered(isReplyError(error) && ALIVE.test(error.message)),
    )
  })
}

/**
 * The `timeout` of the server's configuration. Managed services deny CONFIG or rename it: the rejection means that the
 * pool has to learn. (No hook says that a server may speak unasked: ioredis hands no push message to anybody but the
 * subscriber of a channel, so on an idle connection they are traces of its last borrower.)
 *
 * @returns milliseconds; 0: none; undefined if the answer cannot be read
 */
async function askIdleTimeout(client: RedisClient): Promise<number | undefined> {
  const reply = await client.call('CONFIG', 'GET', 'timeout')
  // Pairs in a flat array, or with RESP3's own mapping a map or an object.
  const seconds = Array.isArray(reply)
    ? reply[reply.findIndex(entry => String(entry) === 'timeout') + 1]
    : reply instanceof Map
      ? reply.get('timeout')
      : (reply as { timeout?: unknown } | null)?.timeout
  const millis = Number(seconds ?? Number.NaN) * 1000
  return Number.isFinite(millis) ? millis : undefined
}

function isReplyError(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError'
}
