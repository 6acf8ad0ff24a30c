/* Pools of a budget that are only numbers, for tests of who gets which place. */

import { SharedBudget } from '../../src/connecting/budget.ts'
import type { BudgetShare } from '../../src/connecting/budget-share.ts'
import type { PoolNode } from '../../src/nested/host.ts'
import type { Timer } from '../../src/runtime/time/clock.ts'

/** A pool that is only numbers, and creates what it is allowed to. */
export class Share implements BudgetShare {
  readonly name: string
  min = 0
  inUse = 0
  waiting = 0
  firstWaitSince = Number.POSITIVE_INFINITY
  wanted = 0
  spareSince: number | undefined = undefined
  isClosed = false
  node: PoolNode | undefined = undefined
  closing = 0
  onTurn: () => void = () => {}
  /** Looks again, as when a connection has been idle for long enough. */
  look: () => void = () => {}
  readonly lookedIn: number[] = []
  readonly given: object[] = []
  readonly #budget: SharedBudget
  readonly #time: { now: number }

  constructor(name: string, budget: SharedBudget, time: { now: number }) {
    this.name = name
    this.#budget = budget
    this.#time = time
  }

  get size(): number {
    return this.inUse - this.closing
  }

  now(): number {
    return this.#time.now
  }

  after(millis: number, run: () => void): Timer {
    this.lookedIn.push(millis)
    this.look = run
    return { cancel: () => {}, hold: () => {} }
  }

  connectMore(): void {
    this.onTurn()
    while (this.wanted > 0 && this.#budget.request(this)) {
      this.inUse += 1
      this.wanted -= 1
    }
  }

  want(count: number): void {
    this.wanted = count
    this.connectMore()
  }

  giveUp(): object {
    const connection = {}
    this.closing += 1
    this.given.push(connection)
    this.spareSince = undefined
    return connection
  }

  /** A connection is closed. */
  close(connection: object = {}): void {
    this.closing = Math.max(this.closing - 1, 0)
    this.inUse -= 1
    this.#budget.returned(this, connection)
    this.#budget.changed()
  }
}

export function sharing(max: number, ...mins: number[]) {
  const budget = new SharedBudget('shared', max)
  const time = { now: 1000 }
  const shares = mins.map((min, index) => {
    const share = new Share('abcdef'[index] as string, budget, time)
    share.min = min
    budget.join(share)
    return share
  })
  return { budget, time, shares: shares as [Share, Share, Share] }
}

export const used = (shares: readonly Share[]): number[] => shares.map(({ inUse }) => inUse)
