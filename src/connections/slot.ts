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

/** How many slots are in each state. Only {@link move} writes to it. */
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

/** Something that went wrong with a connection. It takes effect at the next boundary: borrow, return or check. */
export interface Fault {
  readonly reason: DestroyReason
  readonly detail: string | undefined
  /** For a dirty connection: the name under which metrics count what was left on it, from a small set. */
  readonly left?: string
  /** The error for the borrower, where the loan itself has failed because of this. */
  readonly error?: unknown
}

/** The pool's record of one connection, from the start of its create to the end of its close. */
export class Slot<T> {
  state: SlotState = 'connecting'
  /** Set by a successful create, and kept, because events still name a closed connection. */
  resource: T | undefined = undefined
  /** What the borrower was given: the resource, or the handle of this loan. */
  lent: T | undefined = undefined
  /**
   * Resolves with the resource. Created once, so that a loan from the idle list creates no promise. Undefined where
   * each loan has a handle.
   */
  served: Promise<T> | undefined = undefined
  /** Why there is no connection, if create failed. */
  failure: { readonly error: unknown; readonly timedOut?: boolean } | undefined = undefined
  fault: Fault | undefined = undefined
  socket: Socket | undefined = undefined
  watch: SocketWatch | undefined = undefined
  /** Whether its socket will start to flow at the end of this turn. */
  awaitsFlow = false
  /** When a check in the kernel last found it alive, and when it last answered a round trip. */
  lookedAt = 0
  provenAt = 0
  readonly traffic = new Traffic()
  /** When the peer was first seen to have closed its side during a loan; 0 if it has not. */
  endedAt = 0
  /** Whether the event `half-close` has been emitted for this connection. */
  isHalfCloseAnnounced = false
  /** How early it retires, as a share from 0 to 1 of the usual spread. */
  spread = 0
  /** Settles once the connection is closed or given up. Set when closing starts. */
  closed: Promise<void> | undefined = undefined
  /** Aborts the create in progress. Dropped after that, because it takes more memory than all the rest. */
  createAbort: AbortController | undefined = new AbortController()
  /** The number of the current or last loan. A token with another number is stale. */
  loan = 0
  /** When the connection was created, became idle, and was lent, in milliseconds of the pool's clock. */
  createdAt = 0
  idleSince = 0
  lentAt = 0
  /** The stack of the acquire of the current loan, if it was recorded. */
  trace: StackTrace | undefined = undefined
  /** The function that `use` runs under on this connection. Created at its first `use`. */
  frame: UseFrame | undefined = undefined
  /** Has the current loan been reported as forgotten? */
  isLeakSuspect = false
  /** Has the pool itself ended the current loan, because it looked forgotten or the pool was closed by force? */
  wasEndedByPool = false
  /**
   * Has a function failed that `use` ran in the current loan? Then the connection is only kept if something proves it
   * good.
   */
  isDoubtful = false
  /** When its lifetime ends, or shortly before it expires; in milliseconds of the pool's clock. */
  retireAt = Number.POSITIVE_INFINITY
  /** The neighbours in the list of idle slots. */
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
   * How long nothing has passed through its socket in this loan, in milliseconds, as far as it was checked. Never too
   * long; undefined if there is no socket.
   */
  quietMillis(now: number): number | undefined {
    return this.socket === undefined ? undefined : this.traffic.quietMillis(this.socket, now, this.lentAt)
  }
}

/** The only function that changes the state of a slot and the counts. */
export function move<T>(slot: Slot<T>, to: SlotState, counts: Counts): void {
  const from = slot.state
  // The two moves of every loan are written out: a computed key would cost as much as the rest of the loan.
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
export const isCurrent = (slot: Pick<Slot<unknown>, 'loan' | 'state'>, loan: number): boolean =>
  slot.loan === loan && slot.state === 'lent'

/**
 * Tells which loan a waiter was granted. Some microtasks pass before its caller continues. By then, another caller may
 * have ended the loan, and the slot may have been lent again.
 */
export class Grant<T> {
  readonly slot: Slot<T>
  readonly loan: number

  constructor(slot: Slot<T>) {
    this.slot = slot
    this.loan = slot.loan
  }
}
