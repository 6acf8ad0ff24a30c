import type { Socket } from 'node:net'
import { messageOf } from '../api/errors.ts'
import { hostPort } from '../api/wording.ts'

/*
 * Every touch of a socket goes through this room, and none of its functions throws. A socket may be the user's own, and
 * throw wherever it is touched: the one of an HTTP/2 session does so from the moment that the session is closed.
 */

/** The socket under each TLS socket that an adapter layered over one of its own. */
const beneath = new WeakMap<Socket, Socket>()

/** Notes that `upper` speaks TLS over `raw`: only the raw socket can be reset. */
export function layer(upper: Socket, raw: Socket): void {
  beneath.set(upper, raw)
}

/** The socket whose settings are those of the connection: the one under a TLS socket, where that is known. */
export const rawOf = (socket: Socket): Socket => beneath.get(socket) ?? socket

/**
 * Does everything that JavaScript knows of an idle connection say that it is usable? About 20 ns.
 *
 * Bytes that nobody has read mean that the peer spoke out of turn. A socket that cannot be asked is not usable.
 */
export function isHealthy(socket: Socket): boolean {
  try {
    return isUsable(socket) && socket.readableLength === 0
  } catch {
    return false
  }
}

/** The same, whatever there is to be read. */
export function isOpen(socket: Socket): boolean {
  try {
    return isUsable(socket)
  } catch {
    return false
  }
}

/**
 * A peer's FIN or RST that still lies in the kernel is not known yet. Neither `destroyed` nor `readyState` alone can
 * be trusted: of a socket with unsent data, whose peer has gone, both still say that all is well.
 */
function isUsable(socket: Socket): boolean {
  return (
    hasHandle(socket) &&
    !socket.destroyed &&
    !socket.closed &&
    socket.readable &&
    socket.writable &&
    !socket.readableEnded &&
    !socket.writableEnded &&
    hasEnded(socket) !== true
  )
}

/** What is said of a connection whose socket this side has closed or ended: nobody else is to blame. */
export const CLOSED_HERE = 'its socket was closed on this side, by its borrower or its client'
const UNASKABLE = 'its socket cannot be used: '

/** What is said of a connection whose socket throws. */
export const unaskable = (error: unknown): string => UNASKABLE + messageOf(error)

/** Does this say nothing against the server? */
export const isOwnDoing = (detail: string | undefined): boolean =>
  detail !== undefined && (detail === CLOSED_HERE || detail.startsWith(UNASKABLE))

/** Why a socket that is not healthy is of no use, where that is no doing of the server's. */
export function ownDoing(socket: Socket): string | undefined {
  try {
    return isClosedHere(socket) ? CLOSED_HERE : undefined
  } catch (error) {
    return unaskable(error)
  }
}

/**
 * Has this side closed or ended a socket that its peer, for all that is known, had not?
 *
 * What a peer does leaves a trace, also with TLS: a FIN ends the readable side, at once or behind what is still to be
 * read, and a reset is the error with which the socket is destroyed.
 */
function isClosedHere(socket: Socket): boolean {
  if (!('_handle' in socket) || socket.errored || socket.readableEnded) return false
  return hasEnded(socket) === false && (socket.destroyed || socket.writableEnded)
}

/** Has a FIN been seen, be it behind what is still to be read? `ended` is private to Node; undefined where it is not there. */
function hasEnded(socket: Socket): boolean | undefined {
  const { _readableState: state } = socket as { _readableState?: { ended?: boolean } }
  return state?.ended
}

/** `_handle` is private to Node: null once the descriptor is closed. Where there is no such field, it says nothing. */
function hasHandle(socket: Socket): boolean {
  return !('_handle' in socket) || socket._handle !== null
}

/** Has the peer closed its side of a socket that is still open here? */
export function isHalfClosed(socket: Socket): boolean {
  try {
    return socket.readableEnded && !socket.destroyed
  } catch {
    return false
  }
}

/** Bytes that were written and that the kernel has not taken yet; none once it cannot take them any more. */
export function unsentBytes(socket: Socket): number {
  try {
    return socket.destroyed || !hasHandle(socket) ? 0 : (socket.writableLength ?? 0)
  } catch {
    return 0
  }
}

/** Did the kernel take everything before the socket was closed, if it was? */
export function wasSent(socket: Socket): boolean {
  try {
    return socket.writableFinished || (!socket.destroyed && hasHandle(socket) && socket.writableLength === 0)
  } catch {
    return false
  }
}

/** What a report says of a socket; nothing where it cannot be asked. */
export function describeSocket(
  socket: Socket,
): { local?: string; remote?: string; bytesRead: number; bytesWritten: number } | undefined {
  try {
    const { localAddress, localPort, remoteAddress, remotePort, bytesRead = 0, bytesWritten = 0 } = socket
    return {
      ...(localAddress === undefined ? {} : { local: hostPort(localAddress, localPort) }),
      ...(remoteAddress === undefined ? {} : { remote: hostPort(remoteAddress, remotePort) }),
      bytesRead,
      bytesWritten,
    }
  } catch {
    return undefined
  }
}

/** Bytes read and written so far; undefined where they cannot be told. */
export function bytesThrough(socket: Socket): { read: number; written: number } | undefined {
  try {
    const { bytesRead: read, bytesWritten: written } = socket
    return Number.isFinite(read) && Number.isFinite(written) ? { read, written } : undefined
  } catch {
    return undefined
  }
}

/**
 * Closes a socket for good, its descriptor in the same tick. Safe to call again, and in any state.
 *
 * With unsent data it is reset: a plain close would leave the kernel to deliver to a peer that may never read, and
 * `end()` waits for that for ever, in CLOSE_WAIT if the peer has closed its side. Where nothing can be reset (Unix
 * sockets, a TLS socket whose raw socket nobody knows) a plain close has to do; where that throws, it is up to
 * `factory.destroy`.
 */
export function closeSocket(socket: Socket): void {
  try {
    // While it is still connecting, Node would put the reset off until it is connected.
    if (socket.writableLength > 0 && !socket.connecting && !socket.destroyed) {
      const raw = beneath.get(socket)
      if (raw === undefined) reset(socket)
      else raw.destroy = destroyByReset
    }
  } catch {
    // Then without a reset.
  }
  try {
    socket.destroy()
  } catch {
    // A socket of the user's own, which will not be closed from here.
  }
}

/**
 * Stands in for `destroy` of a raw socket, until the TLS socket above it calls that as it is destroyed itself. Never
 * the raw socket first: Node 20 to 24 then frees the TLS state while its writes are in flight, and crashes.
 */
function destroyByReset(this: Socket): Socket {
  Reflect.deleteProperty(this, 'destroy')
  reset(this)
  return this.destroy()
}

function reset(socket: Socket): void {
  try {
    socket.resetAndDestroy()
  } catch {
    // ERR_INVALID_HANDLE_TYPE: it is not TCP.
  }
}
