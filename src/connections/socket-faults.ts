import type { Socket } from 'node:net'
import type { SocketCheck } from '../sockets/conn-check.ts'
import { isOpen, ownDoing } from '../sockets/socket-state.ts'
import type { Fault } from './slot.ts'

/* What is wrong with a connection whose socket is not healthy, in the words of reports and events. */

/** By the result of a check of the kernel. */
export const CHECK_FAULTS: Readonly<Record<Exclude<SocketCheck, 'healthy' | 'unknown'>, Fault>> = {
  fin: { reason: 'half-closed', detail: 'the server had closed its side, found by a check of the kernel' },
  reset: { reason: 'broken', detail: 'the server had reset it, found by a check of the kernel' },
  data: {
    reason: 'dirty',
    left: 'unread',
    detail: 'the server had sent data while it was idle, found by a check of the kernel',
  },
}
export const FOUND_CLOSED: Fault = { reason: 'half-closed', detail: 'its socket was found closed' }

const UNREAD: Fault = {
  reason: 'dirty',
  left: 'unread',
  detail: 'there are bytes on it that nobody has read',
}

/** Describes what is wrong with a connection whose socket is not healthy. */
export function lossOf(socket: Socket): Fault {
  if (isOpen(socket)) return UNREAD
  const detail = ownDoing(socket)
  return detail === undefined ? FOUND_CLOSED : { reason: 'broken', detail }
}
