import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import type { Redis } from 'ioredis'
import type { DestroyReason, Pool } from '../../src/index.ts'
import { now } from './clock.ts'

/** Counts what the pool tells in its events, independently of the pool's own counters. */
export class PoolWatch {
  connects = 0
  breakerOpened = 0
  readonly destroys = new Map<DestroyReason, number>()
  /** How long each acquire that was served waited. Milliseconds. */
  readonly waits: number[] = []
  readonly #lentAt = new WeakMap<Redis, number>()

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
      this.#lentAt.set(resource, now())
    })
    pool.on('breaker', ({ state }) => {
      if (state === 'open') this.breakerOpened += 1
    })
  }

  get destroyed(): number {
    return [...this.destroys.values()].reduce((sum, count) => sum + count, 0)
  }

  /** When the current or last loan of this connection began. */
  lentAt(client: Redis): number {
    return this.#lentAt.get(client) ?? Number.NaN
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
