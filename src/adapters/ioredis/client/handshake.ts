import type { Socket } from 'node:net'
import { systemClock } from '../../../runtime/time/clock.ts'
import type { RedisClient } from './client-types.ts'
import { isUnsupported } from './replies/error-replies.ts'

type Callback = (error: unknown, text?: unknown) => void
type Internals = RedisClient & { info(callback?: Callback): Promise<unknown> }

/**
 * Lets a client connect to a server that does not allow INFO. ioredis sends INFO on a new connection, to see whether
 * the server is loading its data, and treats any error as a failure to connect. Proxies and managed services may not
 * have the command, or not for this user. Then there is no loading to wait for, and the role is found out in other
 * ways.
 */
export function connectWithoutInfo(client: RedisClient): void {
  if (client.status === 'ready') return
  const { info } = client as Internals
  const tolerant = (callback?: Callback): Promise<unknown> => {
    const reply = info.call(client)
    reply.then(
      text => callback?.(null, text),
      error => (isUnsupported(error) ? callback?.(null, '') : callback?.(error)),
    )
    return reply
  }
  Object.defineProperty(client, 'info', { value: tolerant, configurable: true, writable: true })
  client.once('ready', () => {
    // Not deleted: V8 makes an object slow for good when a property is deleted, and with it every command.
    ;(client as Internals).info = info
  })
}

/**
 * Makes sure that the server's reason is read when it refuses a connection. Such a server sends the reason and closes
 * the connection. A command that ioredis sends right after connecting may fail before the reason is read. Node then
 * stops reading and closes the socket. This lets the socket read for another turn of the event loop.
 *
 * Call it once the socket is connected.
 */
export function readRefusal(client: RedisClient): void {
  const stream = client.stream as Stream | undefined
  if (stream === undefined || client.status === 'ready') return
  const { destroy } = stream
  const restore = (): void => {
    // Not deleted, see `connectWithoutInfo`.
    stream.destroy = destroy
  }
  client.once('ready', restore)
  stream.destroy = function (error) {
    restore()
    if (!isHangUp(error)) return destroy.call(this, error)
    if (stream._readableState) stream._readableState.errored = null
    stream.read(0)
    const end = (): void => {
      if (!stream.destroyed) stream.read()
      destroy.call(stream, error)
    }
    // Two turns: ioredis writes in the poll phase, and the first turn ends right after that phase.
    systemClock.turn(() => systemClock.turn(end))
    return this
  }
}

/** Private to Node: records that the stream must not read any more. */
type Stream = Socket & { readonly _readableState?: { errored: unknown } }

const isHangUp = (error: unknown): boolean =>
  ['EPIPE', 'ECONNRESET'].includes(String((error as { code?: unknown } | undefined)?.code))
