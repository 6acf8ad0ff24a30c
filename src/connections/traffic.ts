import type { Socket } from 'node:net'
import { bytesThrough } from '../sockets/socket-state.ts'

/** How exactly the age of the last traffic is known at the end of a loan, in milliseconds: counting costs 0.2 µs. */
const PRECISION_MILLIS = 100

/** What has gone through a socket. */
export interface ByteCounts {
  readonly read: number
  readonly written: number
}

/**
 * What is known of the traffic of one connection. Its bytes are counted from time to time, and what is new then was said
 * at some time since they were last counted. Who asks needs one bound or the other:
 *
 *     last counted ──────────── something was said, some time here ──────────── counted now
 *          └► quietSince: what the server's idle limit may count from                └► lastSeenAt: who is at work
 *
 * A socket of the user's own may not tell: then nothing is known, and it counts as silent or as at work, whichever does
 * no harm.
 */
export class Traffic {
  /** Not later than the last traffic, in milliseconds of the pool's clock. */
  quietSince = 0
  /** Not earlier than the last traffic, as far as it has been counted. */
  lastSeenAt = 0
  /** When the borrower of this loan was last seen at work, by whatever sign; kept by the search for forgotten leases. */
  lastUsedAt = 0
  lastUsedIn = 0
  /** What had gone through by the time when it was made, where the socket counts that. */
  made: ByteCounts | undefined = undefined
  #bytes = 0
  #countedAt = 0

  /** The connection has been made: counts what that took. */
  start(socket: Socket): void {
    this.made = bytesThrough(socket)
    if (this.made !== undefined) this.#bytes = this.made.read + this.made.written
  }

  /** Has anything been asked since it was made, and something been answered? undefined: nobody can tell. */
  hasAnswered(socket: Socket | undefined): boolean | undefined {
    const start = this.made
    const now = socket && bytesThrough(socket)
    if (start === undefined || now === undefined) return undefined
    return now.read > start.read && now.written > start.written
  }

  /** Something was said just now, over a connection that is not lent. */
  said(socket: Socket | undefined, now: number): void {
    if (socket !== undefined) this.count(socket, now, now)
    this.quietSince = now
    this.lastSeenAt = now
  }

  /** At the end of a loan: counts unless that was done a moment ago. @param since - when the loan began */
  countAtReturn(socket: Socket, now: number, since: number): void {
    if (now - this.#countedAt >= PRECISION_MILLIS) this.count(socket, now, since)
  }

  /** For how long nothing has gone through, in a loan that began then. Of a socket that does not tell: 0. */
  quietMillis(socket: Socket, now: number, since: number): number {
    return this.count(socket, now, since) ? now - Math.max(this.lastSeenAt, since) : 0
  }

  /**
   * @param since - what is new was said after that: the start of the loan
   * @returns whether it could be counted
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
