import type { Redis } from 'ioredis'
import type { DestroyReason, Pool } from '../../src/index.ts'
import { now } from './clock.ts'

/** A loan as its own `acquire` event tells it. Times of `now()`. */
export interface Loan {
  readonly at: number
  /** What had reached our kernel by then, the event loop had heard of when the loan began. */
  readonly heardUntil: number
}

/** Counts what the pool tells in its events, independently of the pool's own counters. */
export class PoolWatch {
  connects = 0
  breakerOpened = 0
  readonly destroys = new Map<DestroyReason, number>()
  /** How long each acquire that was served waited. Milliseconds. */
  readonly waits: number[] = []
  readonly #loop = new LoopWatch()
  readonly #loans = new WeakMap<Redis, Loan>()

  constructor(pool: Pool<Redis>) {
    pool.on('connect', () => {
      this.connects += 1
    })
    pool.on('destroy', ({ reason }) => {
      this.destroys.set(reason, (this.destroys.get(reason) ?? 0) + 1)
    })
    // Emitted in the very step in which the connection is lent: the borrower's own code runs later.
    pool.on('acquire', ({ resource, waitedMillis }) => {
      this.waits.push(waitedMillis)
      this.#loans.set(resource, { at: now(), heardUntil: this.#loop.heardUntil })
    })
    pool.on('breaker', ({ state }) => {
      if (state === 'open') this.breakerOpened += 1
    })
  }

  get destroyed(): number {
    return [...this.destroys.values()].reduce((sum, count) => sum + count, 0)
  }

  /** The current or last loan of this connection. */
  loan(client: Redis): Loan | undefined {
    return this.#loans.get(client)
  }

  stop(): void {
    this.#loop.stop()
  }
}

/**
 * Marks each turn of the event loop after it has looked for news from the network. Between two marks lies one whole
 * look. It takes two to hear of a death: the first may find an answer that came before the FIN, and no more.
 */
class LoopWatch {
  heardUntil = Number.NEGATIVE_INFINITY
  #marks: [older: number, last: number] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]
  #next: NodeJS.Immediate

  constructor() {
    const mark = (): void => {
      const [older, last] = this.#marks
      this.heardUntil = older
      this.#marks = [last, now()]
      // Unreferenced: it runs once a turn, and does not make the loop turn.
      this.#next = setImmediate(mark).unref()
    }
    this.#next = setImmediate(mark).unref()
  }

  stop(): void {
    clearImmediate(this.#next)
  }
}
