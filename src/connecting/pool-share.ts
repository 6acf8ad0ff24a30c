import type { Fault, Slot } from '../connections/slot.ts'
import type { PoolNode } from '../nested/host.ts'
import { outsideContext } from '../runtime/async-context.ts'
import type { Timer } from '../runtime/time/clock.ts'
import type { SharedBudget } from './budget.ts'
import type { BudgetShare } from './budget-share.ts'
import type { PoolContext } from './pool-context.ts'

/** The part of a pool that creates connections and ends them. */
interface ShareHost<T> {
  readonly wanted: number
  readonly isStopped: boolean
  connectMore(): void
  discard(slot: Slot<T>, reason: 'surplus', detail: string): void
}

/** The share that one pool has of a budget, as its option `budget` asks for. */
export class PoolShare<T> implements BudgetShare {
  readonly #budget: SharedBudget
  readonly #context: PoolContext<T>
  readonly #host: ShareHost<T>
  readonly #yielded: Fault

  constructor(budget: SharedBudget, context: PoolContext<T>, host: ShareHost<T>) {
    this.#budget = budget
    this.#context = context
    this.#host = host
    this.#yielded = {
      reason: 'surplus',
      detail: budget.whoNeedsIt,
    }
    budget.join(this)
  }

  get name(): string {
    return this.#context.options.name
  }

  get min(): number {
    return this.#host.isStopped ? 0 : this.#context.options.min
  }

  get inUse(): number {
    return this.#context.slots.permitsInUse
  }

  get size(): number {
    return this.#context.slots.size
  }

  get waiting(): number {
    return this.#context.queue.waiting
  }

  get firstWaitSince(): number {
    return this.#context.queue.peek()?.since ?? Number.POSITIVE_INFINITY
  }

  get wanted(): number {
    return this.#host.wanted
  }

  get isClosed(): boolean {
    return this.#host.isStopped
  }

  get spareSince(): number | undefined {
    return this.waiting > 0 || this.size <= this.min
      ? undefined
      : this.#context.slots.nextIdle(true)?.idleSince
  }

  /** How many connections the budget would let this pool create now. */
  get free(): number {
    return this.#budget.freeFor(this)
  }

  now(): number {
    return this.#context.clock.now()
  }

  after(millis: number, run: () => void): Timer {
    return outsideContext(() => this.#context.clock.after(millis, run))
  }

  giveUp(): object {
    const slot = this.#context.slots.nextIdle(true) as Slot<T>
    this.#host.discard(slot, 'surplus', this.#yielded.detail as string)
    return slot
  }

  connectMore(): void {
    this.#host.connectMore()
  }

  /** May one connection more be created? If not, `connectMore` is called when it is this pool's turn. */
  request(): boolean {
    return this.#budget.request(this)
  }

  returned(slot: Slot<T>): void {
    this.#budget.returned(this, slot)
  }

  changed(): void {
    this.#budget.changed()
  }

  leave(): void {
    this.#budget.leave(this)
  }

  minIssue(min: number): string | undefined {
    return this.#budget.minIssue(min, this)
  }

  get node(): PoolNode | undefined {
    return this.#context.nesting?.detector
  }

  /** The pools whose leases keep this one from connecting; undefined if none do, or if it is not known who holds them. */
  rivals(): PoolNode[] | undefined {
    return this.#budget.rivals(this)
  }

  /** The other pools of the budget, as far as they take part in the deadlock search. */
  sharers(): PoolNode[] {
    return this.#budget.sharers(this)
  }

  /** Why a connection must be ended although an acquire of this pool waits for it. */
  surplus(slot: Slot<T>): Fault | undefined {
    return this.#budget.mustYield(this, slot) ? this.#yielded : undefined
  }
}
