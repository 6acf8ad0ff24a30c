import type { Socket } from 'node:net'
import { messageOf } from '../api/errors.ts'
import { hostPort } from '../api/messages/wording.ts'
import { ignoreRejection } from '../runtime/thenables.ts'

/*
 * All access to sockets goes through this folder, and none of its functions throws. A socket may be the user's own and
 * throw on any access: that of an HTTP/2 session does so once the session is closed.
 */

/** The raw socket under each TLS socket that an adapter created on top of one. */
const beneath = new WeakMap<Socket, Socket>()

/** Records that `upper` speaks TLS over `raw`: only the raw socket can be reset. */
export function layer(upper: Socket, raw: Socket): void {
  beneath.set(upper, raw)
}

/** The socket that holds the settings of the connection: the raw socket under a TLS socket, where it is known. */
export const rawOf = (socket: Socket): Socket => beneath.get(socket) ?? socket

/**
 * Does everything that JavaScript knows about an idle connection say that it is usable? Takes about 20 ns.
 *
 * Unread bytes mean that the peer sent data unasked. A socket that throws is not usable.
 */
export function isHealthy(socket: Socket): boolean {
  try {
    return isUsable(socket) && socket.readableLength === 0
  } catch {
    return false
  }
}

/** The same as {@link isHealthy}, except that unread bytes are allowed. */
export function isOpen(socket: Socket): boolean {
  try {
    return isUsable(socket)
  } catch {
    return false
  }
}

/**
 * A FIN or RST that is still unread in the kernel is not known here. Neither `destroyed` nor `readyState` is enough on
 * its own: for a socket with unsent data whose peer is gone, both still look good.
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

/** The detail for a connection whose socket this side has closed or ended, so that the server is not blamed. */
export const CLOSED_HERE = 'its socket was closed on this side, by its borrower or its client'
const UNASKABLE = 'its socket cannot be used: '

/** The detail for a connection whose socket throws. */
export const unaskable = (error: unknown): string => UNASKABLE + messageOf(error)

/** Does this detail mean that the server is not to blame? */
export const isOwnDoing = (detail: string | undefined): boolean =>
  detail !== undefined && (detail === CLOSED_HERE || detail.startsWith(UNASKABLE))

/** Why a socket is unusable, if the server did not cause it. */
export function ownDoing(socket: Socket): string | undefined {
  try {
    return isClosedHere(socket) ? CLOSED_HERE : undefined
  } catch (error) {
    return unaskable(error)
  }
}

/**
 * Has this side closed or ended a socket that its peer, as far as known, had not closed?
 *
 * What a peer does leaves a trace, with TLS too: a FIN ends the readable side, at once or after the data still to be
 * read, and a reset is the error with which the socket is destroyed.
 */
function isClosedHere(socket: Socket): boolean {
  if (!('_handle' in socket) || socket.errored || socket.readableEnded) return false
  return hasEnded(socket) === false && (socket.destroyed || socket.writableEnded)
}

/**
 * Has a FIN been received, perhaps after data still to be read? `ended` is private to Node; undefined where it is
 * missing.
 */
function hasEnded(socket: Socket): boolean | undefined {
  const { _readableState: state } = socket as { _readableState?: { ended?: boolean } }
  return state?.ended
}

/** `_handle` is private to Node: null once the descriptor is closed. Where the field is missing, it says nothing. */
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

/** Bytes that were written but not yet accepted by the kernel; 0 once it cannot accept them any more. */
export function unsentBytes(socket: Socket): number {
  try {
    return socket.destroyed || !hasHandle(socket) ? 0 : (socket.writableLength ?? 0)
  } catch {
    return 0
  }
}

/** Did the kernel accept everything before the socket was closed, if it was closed? */
export function wasSent(socket: Socket): boolean {
  try {
    return socket.writableFinished || (!socket.destroyed && hasHandle(socket) && socket.writableLength === 0)
  } catch {
    return false
  }
}

/** Describes a socket for a report; undefined if it throws. */
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

/** Bytes read and written so far; undefined where the socket does not report them. */
export function bytesThrough(socket: Socket): { read: number; written: number } | undefined {
  try {
    const { bytesRead: read, bytesWritten: written } = socket
    return Number.isFinite(read) && Number.isFinite(written) ? { read, written } : undefined
  } catch {
    return undefined
  }
}

/**
 * Closes a socket for good, and its descriptor in the same tick. Safe to call again, and in any state.
 *
 * A socket with unsent data is reset. A plain close would leave the kernel to deliver the data to a peer that may never
 * read, and `end()` would wait for that for ever, in CLOSE_WAIT if the peer has closed its side. Where a reset is
 * impossible (Unix sockets, or TLS whose raw socket is unknown), a plain close has to do. If that throws, only
 * `factory.destroy` can help.
 */
export function closeSocket(socket: Socket): void {
  try {
    // While the socket is still connecting, Node would delay the reset until it is connected.
    if (socket.writableLength > 0 && !socket.connecting && !socket.destroyed) {
      const raw = beneath.get(socket)
      if (raw === undefined) reset(socket)
      else raw.destroy = destroyByReset
    }
  } catch {
    // The close below goes without a reset.
  }
  try {
    // It may be async.
    ignoreRejection(socket.destroy())
  } catch {
    // A user's own socket that cannot be closed from here.
  }
}

/**
 * Replaces `destroy` of a raw socket until the TLS socket on top of it is destroyed and calls it. The raw socket must
 * never go first: Node 20 to 24 would then free the TLS state while its writes are in progress, and crash.
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
    // ERR_INVALID_HANDLE_TYPE: it is not a TCP socket.
  }
}
