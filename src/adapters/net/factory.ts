import { connect as connectNet, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { messageOf, PoolError } from '../../api/errors.ts'
import type { Factory } from '../../api/factory.ts'
import { noteProgress } from '../../api/messages/causes.ts'
import { onAbort } from '../../runtime/abort.ts'
import { closeSocket, isHealthy, isOpen, layer } from '../../sockets/socket-state.ts'
import type { SocketTarget } from './target.ts'

/** Idle time before the first keepalive probe. Milliseconds. */
const KEEP_ALIVE_INITIAL_DELAY = 10_000

/** The factory with which the pool creates, checks and ends sockets. */
export function socketFactory({ oneWay = false, ...target }: SocketTarget): Factory<Socket> {
  /** How many bytes each socket had written when it last received data. Bytes written after that have no answer yet. */
  const answered = new WeakMap<Socket, number>()
  return {
    async create(signal) {
      const socket = await openSocket(target, signal)
      answered.set(socket, 0)
      if (!oneWay) recordAnswers(socket, answered)
      return socket
    },
    destroy: endSocket,
    // Data that the server sends before the first request is left for the first borrower.
    validate: socket => (socket.bytesWritten === 0 ? isOpen(socket) : isHealthy(socket)),
    socket: socket => socket,
    busy: socket =>
      socket.writableLength > 0 || (!oneWay && socket.bytesWritten > (answered.get(socket) ?? 0)),
    server: { address: target.path ?? target.host ?? 'localhost', port: target.port },
  }
}

/** Node passes received data to `push` before anybody reads it. A `data` listener instead would start the flow. */
function recordAnswers(socket: Socket, answered: WeakMap<Socket, number>): void {
  const { push } = socket
  socket.push = (chunk, encoding) => {
    if (chunk !== null) answered.set(socket, socket.bytesWritten)
    return Reflect.apply(push, socket, [chunk, encoding])
  }
}

/**
 * Connects a socket. Rejects with the error that the socket emitted. If it fails, the socket is closed in the same
 * tick.
 *
 * @throws PoolError `POOL_CONNECT_FAILED` if there was no error, only silence until the signal, or a close
 */
async function openSocket(target: SocketTarget, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted()
  const { tls, ...tcp } = target
  const raw = connectNet({
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_INITIAL_DELAY,
    noDelay: true,
    ...tcp,
  } as Parameters<typeof connectNet>[0] & object)
  await opened(raw, 'connect', target, signal)
  if (!tls) return raw
  // The raw socket is created here, not by `tls.connect`: Node cannot reset a TLS socket, only the raw socket under it.
  // TLS starts only once that is connected, because Node may go through several handles until then.
  const secure = layered(raw, target, tls === true ? {} : tls)
  await opened(secure, 'secureConnect', target, signal)
  return secure
}

function layered(raw: Socket, { host = 'localhost' }: SocketTarget, tls: object): Socket {
  try {
    const secure = connectTls({ ...tls, host, socket: raw })
    layer(secure, raw)
    return secure
  } catch (error) {
    // The options contain something that only OpenSSL can check, such as a wrong key or an unknown cipher.
    closeSocket(raw)
    throw error
  }
}

/** Waits until the socket is open. If that fails, closes it. */
function opened(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  target: SocketTarget,
  signal: AbortSignal,
): Promise<void> {
  const where = target.path ?? `${target.host ?? 'localhost'}:${target.port}`
  const stage =
    event === 'connect' ? 'before it was connected' : 'after TCP was connected, during the TLS handshake'
  return new Promise<void>((resolve, reject) => {
    let stop = (): void => {}
    const settle = (): void => {
      socket.off(event, onOpen).off('error', fail).off('close', onClose)
      stop()
    }
    const fail = (error: unknown): void => {
      settle()
      closeSocket(socket)
      reject(error)
    }
    const failed = (what: string, cause?: unknown): void =>
      fail(
        noteProgress(
          new PoolError(
            'POOL_CONNECT_FAILED',
            `connecting to ${where}: ${what} ${stage}`,
            cause ? { cause } : {},
          ),
          stage,
        ),
      )
    const onOpen = (): void => {
      settle()
      resolve()
    }
    const onClose = (): void => failed('the connection was closed')
    const giveUp = (): void => failed(`given up (${messageOf(signal.reason)})`, signal.reason)
    // Never removed: an error on a socket without listeners must not crash the process.
    socket.on('error', () => {})
    socket.on(event, onOpen).on('error', fail).on('close', onClose)
    stop = onAbort(signal, giveUp)
  })
}

/** Closes the socket at once. Unsent data is lost. */
async function endSocket(socket: Socket): Promise<void> {
  if (socket.destroyed) return
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  closeSocket(socket)
  await closed
}
