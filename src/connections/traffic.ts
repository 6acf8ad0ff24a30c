import { bytesThrough } from '../sockets/socket-state.ts'
import type { ByteCounts, Slot } from './slot.ts'

/** How exactly the age of the last traffic is known, in milliseconds. Reading the counters costs 0.2 µs. */
const PRECISION_MILLIS = 100

/** What has gone through a connection's socket; it changes when there is traffic. */
export const bytesOf = <T>({ socket }: Slot<T>): number => (socket === undefined ? 0 : bytesThrough(socket))

/** Notes what has gone through the socket while the connection was made. */
export function startTraffic<T>(slot: Slot<T>): void {
  slot.bytes = bytesOf(slot)
  slot.startBytes = counted(slot)
}

/** Has anything been asked on a connection since it was made, and something been answered? undefined: nobody can tell. */
export function hasAnswered<T>(slot: Slot<T>): boolean | undefined {
  const start = slot.startBytes
  const now = counted(slot)
  if (start === undefined || now === undefined) return undefined
  return now.read > start.read && now.written > start.written
}

function counted<T>({ socket }: Slot<T>): ByteCounts | undefined {
  if (socket === undefined) return undefined
  try {
    const { bytesRead: read, bytesWritten: written } = socket
    return Number.isFinite(read) && Number.isFinite(written) ? { read, written } : undefined
  } catch {
    return undefined
  }
}

/**
 * Notes whether a lent connection has been used: what the server counts is not the time between loans but the time
 * since anything was said.
 *
 * @param since - when it was last looked into, if later than the start of the loan: what was said, was said after that
 */
export function noteTraffic<T>(slot: Slot<T>, now: number, since = slot.lentAt): void {
  if (now - slot.sampledAt < PRECISION_MILLIS) return
  slot.sampledAt = now
  const bytes = bytesOf(slot)
  if (bytes === slot.bytes) return
  slot.bytes = bytes
  slot.activeAt = Math.max(slot.activeAt, since)
}

/**
 * For how long nothing has gone through a lent connection's socket, in milliseconds, as far as somebody has looked; never
 * too long. At the first look of a loan only whether anything has at all is known; then it counts as said just now.
 * undefined: there is no socket that tells.
 */
export function quietMillis<T>(slot: Slot<T>, now: number): number | undefined {
  if (slot.socket === undefined) return undefined
  const bytes = bytesOf(slot)
  if (slot.traffic?.loan !== slot.loan) {
    const at = bytes === slot.bytes ? Math.max(slot.lentAt, slot.activeAt) : now
    slot.traffic = { loan: slot.loan, bytes, at }
  } else if (slot.traffic.bytes !== bytes) {
    slot.traffic.bytes = bytes
    slot.traffic.at = now
  }
  return now - slot.traffic.at
}

/** Has anything gone through a lent connection's socket in so many milliseconds? */
export function hasTrafficWithin<T>(slot: Slot<T>, now: number, millis: number): boolean {
  const quiet = quietMillis(slot, now)
  return quiet !== undefined && quiet < millis
}
