import type { Socket } from 'node:net'
import { systemClock } from '../../../runtime/time/clock.ts'
import type { RedisClient } from './client-types.ts'
import { isUnsupported } from './error-replies.ts'

type Callback = (error: unknown, text?: unknown) => void
type Internals = RedisClient & { info(callback?: Callback): Promise<unknown> }

/**
 * ioredis asks a new connection for INFO, to see whether the server is loading its data, and takes any error for a reason
 * not to connect. Proxies and managed services may not have the command, or not for this user: then there is nothing to
 * wait for, and its role is asked for in other ways.
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
  client.once('ready', () => Reflect.deleteProperty(client, 'info'))
}

/**
 * A server that refuses a connection says why and hangs up. A command that ioredis sends as soon as it is connected may
 * fail before that is read: then Node reads no more, and closes the socket. Here it reads for another turn of the loop.
 *
 * To be called once the socket is connected.
 */
export function hearRefusal(client: RedisClient): void {
  const stream = client.stream as Stream | undefined
  if (stream === undefined || client.status === 'ready') return
  const { destroy } = stream
  const restore = (): boolean => Reflect.deleteProperty(stream, 'destroy')
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
    // Two: ioredis writes in the poll phase, behind which comes the first.
    systemClock.turn(() => systemClock.turn(end))
    return this
  }
}

/** Private to Node: where it notes that it is not to read any more. */
type Stream = Socket & { readonly _readableState?: { errored: unknown } }

const isHangUp = (error: unknown): boolean =>
  ['EPIPE', 'ECONNRESET'].includes(String((error as { code?: unknown } | undefined)?.code))
