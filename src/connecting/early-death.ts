import type { DestroyReason, SlotState } from '../api/stats.ts'
import type { Fault, Slot } from '../connections/slot.ts'
import { isOpen, isOwnDoing, ownDoing } from '../sockets/socket-state.ts'

/** A connection that dies within this time without having been of use counts as a failed create. Milliseconds. */
export const EARLY_DEATH_MILLIS = 1000
/** Reasons why a connection that was never lent may have been of no use. */
const DEATH_REASONS: ReadonlySet<DestroyReason> = new Set([
  'half-closed',
  'broken',
  'invalid',
  'invalidated',
  'dirty',
])

/** How long a hook may take to find out that a connection does not answer. */
interface Limits {
  readonly validateTimeoutMillis: number
  readonly resetTimeoutMillis: number
}

/**
 * Does a connection that ends like this count as a failed create?
 *
 * @param from - its state before its end
 */
export function isEarlyDeath<T>(
  slot: Slot<T>,
  fault: Fault,
  from: SlotState,
  now: number,
  { validateTimeoutMillis, resetTimeoutMillis }: Limits,
): boolean {
  // A second loan means that the first one ended well.
  if (slot.loan > 1 || slot.traffic.hasAnswered(slot.socket) === true) return false
  const isUnusable = slot.isDoubtful && from === 'resetting' && DEATH_REASONS.has(fault.reason)
  if (slot.loan === 1 && !isUnusable && !endedByPeer(slot, fault)) return false
  if (slot.loan === 0 && !DEATH_REASONS.has(fault.reason)) return false
  const proof = fault.reason === 'invalid' ? validateTimeoutMillis : 0
  const reset = from === 'resetting' ? resetTimeoutMillis : 0
  return now - slot.createdAt < EARLY_DEATH_MILLIS + proof + reset
}

/** Was the connection ended by the peer, and not by its borrower? */
function endedByPeer<T>({ socket }: Slot<T>, { reason, detail }: Fault): boolean {
  if (reason === 'half-closed' || reason === 'broken') return !isOwnDoing(detail)
  if (socket === undefined) return false
  return !isOpen(socket) && ownDoing(socket) === undefined
}
