import type { Socket } from 'node:net'
import { bytesThrough } from '../sockets/socket-state.ts'

/** How precisely the time of the last traffic is known at the end of a loan, in milliseconds. Counting costs 0.2 µs. */
const PRECISION_MILLIS = 100

/** The bytes that have passed through a socket. */
interface ByteCounts {
  readonly read: number
  readonly written: number
}

/**
 * What is known about the traffic of one connection. Its bytes are counted now and then. New bytes have passed at some
 * time since the previous count, so callers use one bound or the other:
 *
 *     last counted ──────────── new bytes passed at some time here ──────────── counted now
 *          └► quietSince: the server's idle limit may count from here               └► lastSeenAt: signs of use
 *
 * A user's own socket may not report its bytes. Then nothing is known, and the connection counts as silent or as in
 * use, whichever does no harm.
 */
export class Traffic {
  /** Not later than the last traffic, in milliseconds of the pool's clock. */
  quietSince = 0
  /** Not earlier than the last traffic, as far as it has been counted. */
  lastSeenAt = 0
  /** When the borrower of this loan was last seen using the connection. Maintained by the leak detector. */
  lastUsedAt = 0
  lastUsedIn = 0
  /** The bytes that had passed when the connection was created, where the socket counts them. */
  made: ByteCounts | undefined = undefined
  #bytes = 0
  #countedAt = 0

  /** Called when the connection has been created: counts the bytes of the handshake. */
  start(socket: Socket): void {
    this.made = bytesThrough(socket)
    if (this.made !== undefined) this.#bytes = this.made.read + this.made.written
  }

  /** Has anything been sent and something received since it was created? undefined if the socket does not report it. */
  hasAnswered(socket: Socket | undefined): boolean | undefined {
    const start = this.made
    const now = socket && bytesThrough(socket)
    if (start === undefined || now === undefined) return undefined
    return now.read > start.read && now.written > start.written
  }

  /** Called when data has just passed over a connection that is not lent. */
  exchanged(socket: Socket | undefined, now: number): void {
    if (socket !== undefined) this.count(socket, now, now)
    this.quietSince = now
    this.lastSeenAt = now
  }

  /**
   * Called at the end of a loan: counts unless the last count is recent.
   * @param since - when the loan began
   */
  countAtReturn(socket: Socket, now: number, since: number): void {
    if (now - this.#countedAt >= PRECISION_MILLIS) this.count(socket, now, since)
  }

  /** How long nothing has passed, in a loan that began at `since`; 0 if the socket does not report it. */
  quietMillis(socket: Socket, now: number, since: number): number {
    return this.count(socket, now, since) ? now - Math.max(this.lastSeenAt, since) : 0
  }

  /**
   * @param since - new bytes passed after this time: the start of the loan
   * @returns whether the bytes could be counted
   */
  count(socket: Socket, now: number, since: number): boolean {
    const counts = bytesThrough(socket)
    if (counts === undefined) return false
    const bytes = counts.read + counts.written
    if (bytes !== this.#bytes) {
      this.#bytes = bytes
      this.quietSince = Math.max(this.quietSince, this.#countedAt, since)
      this.lastSeenAt = now
    }
    this.#countedAt = now
    return true
  }
}
