import type { Socket } from 'node:net'
import { closeSocket } from './sockets.ts'

/**
 * Watches the socket of a pooled connection. At the first sign that the peer is gone the socket is closed in the same
 * tick (a socket left to itself can stay in CLOSE_WAIT for ever, see `closeSocket`) and the pool is told.
 *
 * @returns ends the watch; an `error` listener stays, so that a dying socket never crashes the process
 */
export function watchSocket(
  socket: Socket,
  onFault: (reason: 'half-closed' | 'broken', detail: string) => void,
): () => void {
  const onEnd = (): void => {
    closeSocket(socket)
    onFault('half-closed', 'the server closed its side')
  }
  const onClose = (): void => onFault('half-closed', 'the socket closed')
  const onError = (error: Error): void => onFault('broken', error.message)
  socket.on('end', onEnd).on('close', onClose).on('error', onError)
  return () => {
    socket.off('end', onEnd).off('close', onClose)
  }
}
