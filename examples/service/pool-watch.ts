import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
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
 * look: what had come before the first of them was heard of before the second.
 */
class LoopWatch {
  heardUntil = Number.NEGATIVE_INFINITY
  #last = Number.NEGATIVE_INFINITY
  #next: NodeJS.Immediate

  constructor() {
    const mark = (): void => {
      this.heardUntil = this.#last
      this.#last = now()
      // Unreferenced: it runs once a turn, and does not make the loop turn.
      this.#next = setImmediate(mark).unref()
    }
    this.#next = setImmediate(mark).unref()
  }

  stop(): void {
    clearImmediate(this.#next)
  }
}

/** Follows every TCP and Unix socket that this thread opens as a client: Node itself tells of each. */
export class SocketWatch {
  readonly #sockets: Socket[] = []
  readonly #onSocket = (message: unknown): void => {
    this.#sockets.push((message as { socket: Socket }).socket)
  }

  constructor() {
    subscribe('net.client.socket', this.#onSocket)
  }

  get opened(): number {
    return this.#sockets.length
  }

  get closed(): number {
    return this.#sockets.filter(socket => socket.closed).length
  }

  stop(): void {
    unsubscribe('net.client.socket', this.#onSocket)
  }
}
