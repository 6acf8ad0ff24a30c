import type { Socket } from 'node:net'

/** The socket under each TLS socket that an adapter layered over one of its own. */
const beneath = new WeakMap<Socket, Socket>()

/** Notes that `upper` speaks TLS over `raw`: only the raw socket can be reset. */
export function layer(upper: Socket, raw: Socket): void {
  beneath.set(upper, raw)
}

/**
 * Does everything that JavaScript knows of an idle connection say that it is usable? About 20 ns.
 *
 * Bytes that nobody has read mean that the peer spoke out of turn.
 */
export const isHealthy = (socket: Socket): boolean => isOpen(socket) && socket.readableLength === 0

/**
 * The same, whatever there is to be read.
 *
 * A peer's FIN or RST that still lies in the kernel is not known yet. Neither `destroyed` nor `readyState` alone can
 * be trusted: of a socket with unsent data, whose peer has gone, both still say that all is well.
 */
export function isOpen(socket: Socket): boolean {
  return (
    hasHandle(socket) &&
    !socket.destroyed &&
    !socket.closed &&
    socket.readable &&
    socket.writable &&
    !socket.readableEnded &&
    !socket.writableEnded
  )
}

/** What is said of a connection whose socket this side has closed or ended: nobody else is to blame. */
export const CLOSED_HERE = 'its socket was closed on this side, by its borrower or its client'

/**
 * Has this side closed or ended a socket that its peer, for all that is known, had not?
 *
 * What a peer does leaves a trace, also with TLS: a FIN ends the readable side, at once or (`ended`, private to Node)
 * behind what is still to be read, and a reset is the error with which the socket is destroyed.
 */
export function isClosedHere(socket: Socket): boolean {
  if (!('_handle' in socket) || socket.errored || socket.readableEnded) return false
  const { _readableState: state } = socket as { _readableState?: { ended?: boolean } }
  return state?.ended === false && (socket.destroyed || socket.writableEnded)
}

/** `_handle` is private to Node: null once the descriptor is closed. Where there is no such field, it says nothing. */
function hasHandle(socket: Socket): boolean {
  return !('_handle' in socket) || socket._handle !== null
}

/**
 * Closes a socket for good, its descriptor in the same tick. Safe to call again, and in any state.
 *
 * With unsent data it is reset: a plain close would leave the kernel to deliver to a peer that may never read, and
 * `end()` waits for that for ever, in CLOSE_WAIT if the peer has closed its side. Where nothing can be reset (Unix
 * sockets, a TLS socket whose raw socket nobody knows) a plain close has to do.
 */
export function closeSocket(socket: Socket): void {
  // While it is still connecting, Node would put the reset off until it is connected.
  if (socket.writableLength > 0 && !socket.connecting && !socket.destroyed) {
    const raw = beneath.get(socket)
    if (raw === undefined) reset(socket)
    else raw.destroy = destroyByReset
  }
  socket.destroy()
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
