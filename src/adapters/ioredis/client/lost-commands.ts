import type { Socket } from 'node:net'
import { isError, PoolError } from '../../../api/errors.ts'
import type { RedisClient } from './client-types.ts'
import { addressOf } from './role.ts'

/** What ioredis says of each command on a connection that has ended. */
const CLOSED = 'Connection is closed.'

/** The error of ioredis, so that code which compares it still works, with what the pool knows as its cause. */
export function closedError(cause?: PoolError): Error {
  return new Error(CLOSED, cause && { cause })
}

/** The cause where a command was not sent, as its connection had ended before. */
export function neverSent(pool: string, command: string): PoolError {
  return new PoolError(
    'POOL_CONNECTION_LOST',
    `${command.toUpperCase()} was not sent: its connection, of pool '${pool}', has been closed. End the loan and take a new ` +
      'connection',
    { pool },
  )
}

type Internals = RedisClient & { flushQueue?(error: unknown, ...rest: unknown[]): void }

/**
 * Says which pool and which server it was, where commands have no answer as their connection has ended. Call it once the
 * client is connected, and after `guardReplies`.
 *
 * @param nameOf - the name of the pool
 */
export function explainLoss(client: RedisClient, nameOf: () => string): void {
  const { flushQueue } = client as Internals
  if (flushQueue === undefined) return
  const address = addressOf(client)
  const { stream } = client
  const explained = (error: unknown, ...rest: unknown[]): void => {
    const isLoss = isError(error) && error.message === CLOSED && error.cause === undefined
    if (isLoss && client.commandQueue.length > 0) {
      const value = lost(nameOf(), address, stream)
      Object.defineProperty(error, 'cause', { value, writable: true, configurable: true })
    }
    flushQueue.call(client, error, ...rest)
  }
  Object.defineProperty(client, 'flushQueue', { value: explained, configurable: true, writable: true })
}

function lost(pool: string, address: string, stream: Socket | undefined): PoolError {
  const cause = stream?.errored ?? undefined
  return new PoolError(
    'POOL_CONNECTION_LOST',
    `pool '${pool}': the connection to ${address} was closed before the server had answered. A command in progress may have ` +
      'run: see whether it may run twice, end the loan, and take a new connection',
    { pool, ...(cause === undefined ? {} : { cause }) },
  )
}
