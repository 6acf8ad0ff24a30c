import type { AsyncLocalStorage } from 'node:async_hooks'
import { newStorage, outsideContext } from '../runtime/async-context.ts'
import type { StackTrace } from '../runtime/stack-trace.ts'
import type { AwaiterQuery } from './deadlock-search.ts'
import type { Habit, Trail } from './release-history.ts'
import type { Judged } from './wait-for-graph.ts'

/** What the verdict asks of a pool. Pools of other copies of this package answer the same questions. */
export interface PoolNode {
  readonly name: string
  /** Connections that are lent. */
  readonly lent: number
  /** What is lent, as far as its scope is known. */
  leases(): Iterable<Scope>
  /** Is every lease of a context that waits for something? If not, no knot can hold the pool. */
  isStuck(): boolean
  /** Can the pool serve somebody without a lease being ended, or has it done so within its grace? */
  canMove(): boolean
  /** Has anything gone through the connection's socket within the grace, since somebody first asked in this loan? */
  hasTalked(slot: object): boolean
  /** Has the connection unanswered work, as far as the factory can tell, or had it any traffic within the grace? */
  isBusy(slot: object): boolean
  /** May this wait be judged: is it older than the grace, and not about to end by itself? */
  isRipe(wait: WaitEdge): boolean
  /** May one of them be judged? They stand in the order in which they began. */
  hasRipe(waits: Iterable<WaitEdge>): boolean
  /** Has nothing moved for so many graces while it waited, or for half of its time? */
  hasStood(wait: WaitEdge, graces: number): boolean
  /** The last of its waiters to have come, of those in the knot. */
  youngest(knot: Knot): WaitEdge | undefined
  /** Has those served before all others that have stood in a knot. */
  goFirst(): void
  /** Rejects the waiter. @returns false if it has left meanwhile */
  reject(wait: WaitEdge, knot: Knot): boolean
}

/** Who waits for one pool, and the leases that cannot end before it is served. */
export type Case = Judged<WaitGroup | WaitEdge, Scope, PoolNode>
/** Deadlocked waiters who wait for each other. */
export type Knot = readonly Case[]

/** Acquires for one pool that wait inside the same scope. Until it comes to proofs they are one to the verdict. */
export interface WaitGroup {
  readonly member: PoolNode
  /** The innermost scope around them. */
  readonly scope: Scope
  /** The leases around them, by the hint of their context. */
  readonly leases: readonly Scope[]
  readonly waits: Set<WaitEdge>
  /** Those of them who can be asked who awaits them. */
  readonly askable: Set<WaitEdge>
  /** Those who have been: each stands for itself, and the cohort for all others. */
  readonly answered: Set<WaitEdge>
  /** The last knot in which it stood, but for those who have been asked. */
  knot: Knot | undefined
  /** The last look at the waiters that came across it. */
  look: object | undefined
  /** Its waiters are being asked. */
  inquest: AwaiterQuery | undefined
}

/** One acquire that waits while its context holds leases. */
export interface WaitEdge {
  readonly member: PoolNode
  readonly cohort: WaitGroup
  /** The innermost scope around it. */
  readonly scope: Scope
  /** Where it was asked for. */
  readonly trace: StackTrace | undefined
  /** Who awaits it, looked up when it matters; `undefined` before. */
  chain: Pick<StackTrace, 'frames'> | undefined
  /** Has {@link chain} looked up, by the time the loop has turned. */
  readonly ask: (() => void) | undefined
  /** The leases of `use` that its own line holds, once that was asked; and the plain ones, which may be another's. */
  proven: readonly Scope[] | undefined
  unsure: readonly Scope[]
  /** The last knot in which it stood, if it has been asked. */
  knot: Knot | undefined
  readonly since: number
  /** A number that grows with every wait of the process. */
  readonly order: number
}

/** The last knot in which it stood; while it is being asked anew, also as one that has been asked before. */
export const knotOf = (wait: WaitEdge): Knot | undefined =>
  wait.proven === undefined ? (wait.cohort.knot ?? wait.knot) : wait.knot

/** Plain loans looked at from one acquire outwards. No sane task holds more; a polluted context may show hundreds. */
export const MOST_SCOPES = 64

export type ScopeState = 'pending' | 'held' | 'ended'

/**
 * What an async context knows of one lease: that it was taken here, and which were held around it.
 *
 *     context of a request ──► scope ──parent──► scope ──parent──► …      from the innermost lease outwards
 *                                │ lease           │
 *                                ▼                 ▼
 *                              slot              slot
 *
 * A context can outlive its leases by far. So a scope lets go of everything when its lease ends, a new one hangs
 * itself on the nearest that is still held, and contexts that live long keep one ended scope at most.
 */
export class Scope {
  state: ScopeState
  parent: Scope | undefined
  /**
   * True for `use`: its function, and what that starts, runs in this scope and nobody else does. After a plain acquire
   * also the caller of whoever has asked finds itself in the scope: the context is only a hint then.
   */
  readonly exact: boolean
  /** The scope whose lease is held here: itself, but for a nested loan under `nested: 'reuse'`. */
  lease: Scope
  member: PoolNode | undefined
  slot: object | undefined = undefined
  trace: StackTrace | undefined = undefined
  /** Who awaited the acquire as it was served, from inner to outer; of plain loans whose stack was taken. */
  owners: StackTrace | undefined = undefined
  /** Is whoever runs in this scope awaited by nobody further out? Only the context leads there. */
  isDetached = false
  /** Where a function that awaited this lease has been seen to ask for others in its context; itself, or by a helper. */
  goings: Map<string, boolean> | undefined = undefined
  /** By which of these this scope has been reached, for each lease around it. */
  trails: readonly Trail[] | undefined = undefined
  /** Acquires of which this is the innermost scope, by the pool that they wait for. */
  asking: Map<PoolNode, WaitGroup> | undefined = undefined
  /** Acquires that had to wait and showed this as the innermost scope that need be ruled out. */
  asked = 0
  /** All that wait inside this lease, by the hint of their context. */
  cohorts: Set<WaitGroup> | undefined = undefined
  /** Of a shared lease, the further loan that works on it now; undefined: its own. */
  tip: Scope | undefined = undefined
  /** Loans that share this lease under `nested: 'reuse'`, and whether its own has ended before them. */
  shares = 0
  over = false

  constructor(member: PoolNode | undefined, parent: Scope | undefined, exact: boolean) {
    this.state = 'pending'
    this.member = member
    this.parent = parent
    this.exact = exact
    this.lease = this
  }

  begin(slot: object): void {
    this.slot = slot
    this.state = 'held'
  }

  end(): void {
    this.state = 'ended'
    this.member = undefined
    this.slot = undefined
    this.trace = undefined
    this.owners = undefined
    this.goings = undefined
    this.tip = undefined
    this.asking = undefined
    this.cohorts = undefined
    if (this.parent !== undefined) this.parent = heldFrom(this.parent)
  }
}

/** The first scope from here outwards whose lease is held; what has ended on the way there is forgotten. */
export function heldFrom(scope: Scope | undefined): Scope | undefined {
  while (scope !== undefined && scope.state !== 'held') scope = scope.parent
  if (scope?.parent !== undefined && scope.parent.state !== 'held') scope.parent = heldFrom(scope.parent)
  return scope
}

/** What a context carries that is to tell nothing, whatever it has told before. */
export const EMPTY = new Scope(undefined, undefined, false)
EMPTY.end()

/** Has a context nothing to tell, now or later? */
export function isSpent(scope: Scope | undefined): boolean {
  while (scope?.state === 'ended') scope = scope.parent
  return scope === undefined
}

/** What all copies of this package in one process share. The key names the shape: change both together. */
interface Shared {
  readonly storage: AsyncLocalStorage<Scope | undefined>
  waits: number
  /** By the statement that takes a lease. */
  readonly habits: Map<string, Habit>
}

const KEY = Symbol.for('lifeguard-pool.nested.v5')

/** Made with the first pool that wants it: `nested: 'allow'` alone never switches context tracking on. */
export function shared(): Shared {
  const holder = globalThis as { [KEY]?: Shared }
  if (holder[KEY] === undefined) {
    const storage = newStorage<Scope | undefined>()
    // On Node 20 and 22 a microtask has a context of its own only if tracking was on when it was queued. What is there
    // already, as `undefined` is, would not switch it on. Outside, as from Node 24 on it would leave a map behind here,
    // which each further context of this process would have to copy.
    outsideContext(() => storage.run(EMPTY, () => {}))
    holder[KEY] = { storage, waits: 0, habits: new Map() }
  }
  return holder[KEY]
}
