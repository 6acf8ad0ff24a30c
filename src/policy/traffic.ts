import type { Slot } from '../slot.ts'

/** How exactly the age of the last traffic is known, in milliseconds. Reading the counters costs 0.2 µs. */
const PRECISION_MILLIS = 100

/** What has gone through a connection's socket; it changes when there is traffic. */
export function bytesOf<T>({ socket }: Slot<T>): number {
  return socket === undefined ? 0 : (socket.bytesRead ?? 0) + (socket.bytesWritten ?? 0)
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
