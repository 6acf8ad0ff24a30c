import type { Socket } from 'node:net'
import type { DestroyReason, SlotState } from '../api/stats.ts'
import type { UseFrame } from '../nested/host.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'
import type { SocketWatch } from '../sockets/socket-watch.ts'
import { Traffic } from './traffic.ts'

const NEXT: Readonly<Record<SlotState, readonly SlotState[]>> = {
  connecting: ['idle', 'validating', 'closing', 'closed'],
  idle: ['lent', 'validating', 'closing'],
  validating: ['idle', 'closing'],
  lent: ['idle', 'resetting', 'closing'],
  resetting: ['idle', 'closing'],
  closing: ['closed'],
  closed: [],
}

/** How many slots are in each state. Only {@link move} writes it. */
export type Counts = Record<SlotState, number>

export const newCounts = (): Counts => ({
  connecting: 0,
  idle: 0,
  validating: 0,
  lent: 0,
  resetting: 0,
  closing: 0,
  closed: 0,
})

/** Something that went wrong with a connection; it takes effect at the next boundary: borrow, return or check. */
export interface Fault {
  readonly reason: DestroyReason
  readonly detail: string | undefined
  /** What its borrower is told, where the loan itself has failed by it. */
  readonly error?: unknown
}

/** The pool's record of one connection, from the start of its create to the end of its close. */
export class Slot<T> {
  state: SlotState = 'connecting'
  /** Set by a successful create, and kept: a closed connection is still named in events. */
  resource: T | undefined = undefined
  /** What its borrower has: the resource, or the handle of this loan. */
  lent: T | undefined = undefined
  /**
   * Fulfilled with the resource; made once, so that a loan from the idle list makes no promise of its own. Not there
   * where each loan has a handle.
   */
  served: Promise<T> | undefined = undefined
  /** Why there is no connection, when create failed. */
  failure: { readonly error: unknown } | undefined = undefined
  fault: Fault | undefined = undefined
  socket: Socket | undefined = undefined
  watch: SocketWatch | undefined = undefined
  /** Whether its socket is to be made to flow at the end of this turn. */
  awaitsFlow = false
  /** When a look at the kernel last found it good, and when it last answered a round trip. */
  lookedAt = 0
  provenAt = 0
  readonly traffic = new Traffic()
  /** When its peer was first seen to have closed its side while the connection was lent; 0: it has not. */
  endedAt = 0
  /** Whether the event `half-close` has told of its end. */
  isHalfCloseTold = false
  /** By how much it retires early, as a share from 0 to 1 of the usual spread. */
  spread = 0
  /** Settles once the connection is closed or given up; set when closing starts. */
  closed: Promise<void> | undefined = undefined
  /** Aborts the create that is under way; it takes more room than all the rest. */
  createAbort: AbortController | undefined = new AbortController()
  /** The number of the current or last loan. A token that names another one is stale. */
  loan = 0
  /** When the connection was made, became idle, and was lent, in milliseconds of the pool's clock. */
  createdAt = 0
  idleSince = 0
  lentAt = 0
  /** Where the current loan was taken, if that is known. */
  trace: StackTrace | undefined = undefined
  /** The function under which `use` runs on this connection; made with its first `use`. */
  frame: UseFrame | undefined = undefined
  /** Has the current loan been reported as forgotten? */
  isLeakSuspect = false
  /** Has the pool itself ended the current loan, as it looked forgotten or as the pool was closed by force? */
  wasEndedByPool = false
  /** Has a function failed that `use` ran on the current loan? Then something has to vouch for the connection. */
  isDoubtful = false
  /** When its lifetime ends, or what it was opened with expires; in milliseconds of the pool's clock. */
  retireAt = Number.POSITIVE_INFINITY
  /** Neighbours in the list of idle slots. */
  previous: Slot<T> | undefined = undefined
  next: Slot<T> | undefined = undefined
  readonly id: number
  readonly generation: number
  readonly startedAt: number

  constructor(id: number, generation: number, startedAt: number) {
    this.id = id
    this.generation = generation
    this.startedAt = startedAt
  }

  /**
   * For how many milliseconds nothing has gone through its socket in this loan, as far as anybody has looked; never too
   * long. undefined: there is no socket.
   */
  quietMillis(now: number): number | undefined {
    return this.socket === undefined ? undefined : this.traffic.quietMillis(this.socket, now, this.lentAt)
  }
}

/** The only way in which a slot changes its state, and the counts its numbers. */
export function move<T>(slot: Slot<T>, to: SlotState, counts: Counts): void {
  const from = slot.state
  // The two moves of every loan, written out: keyed access by a variable costs as much as the rest of the loan.
  if (from === 'idle' && to === 'lent') {
    slot.state = to
    counts.idle -= 1
    counts.lent += 1
    return
  }
  if (from === 'lent' && to === 'idle') {
    slot.state = to
    counts.lent -= 1
    counts.idle += 1
    return
  }
  if (!NEXT[from].includes(to))
    throw new Error(`lifeguard-pool bug: slot ${slot.id} cannot go from ${from} to ${to}`)
  slot.state = to
  counts[from] -= 1
  counts[to] += 1
}

/** Is this still the loan that the slot is lent for? */
export const isCurrent = <T>(slot: Slot<T>, loan: number): boolean =>
  slot.loan === loan && slot.state === 'lent'

/**
 * Which loan a waiter has been given. Some microtasks pass before its caller goes on; by then the loan may have been
 * ended by another caller, and the slot may be lent anew.
 */
export class Grant<T> {
  readonly slot: Slot<T>
  readonly loan: number

  constructor(slot: Slot<T>) {
    this.slot = slot
    this.loan = slot.loan
  }
}
