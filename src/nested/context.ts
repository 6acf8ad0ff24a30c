import type { AsyncLocalStorage } from 'node:async_hooks'
import { newStorage, outsideContext } from '../runtime/async-context.ts'
import type { Connection, Lease, LeaseScope, PoolNode, UseFrame, Work } from './host.ts'

/*
 * Pools with `nested: 'forbid'` or `'reuse'` must know inside the acquire call what its caller holds. So they record it
 * in the async context. No other pool does this: on Node 20 and 22 an async context slows down every promise of the
 * process.
 *
 *     context of a request ──► scope ──outer──► scope ──outer──► …      from the innermost lease outwards
 */

/** What an async context knows about one lease: that it was taken here, and which leases were held around it. */
export class Scope implements LeaseScope {
  /** `undefined` until the connection has been handed over. */
  connection: Connection | undefined = undefined
  #loan = 0
  readonly pool: PoolNode
  readonly outer: Scope | undefined
  /**
   * False for `use`. After a plain acquire, the code that called the borrowing function also runs in this scope, so a
   * plain scope is only a hint about who holds the lease.
   */
  readonly isPlain: boolean
  /** Under `'reuse'`: a nested `use` is using the connection at the moment. */
  isSharing = false

  constructor(pool: PoolNode, outer: Scope | undefined, isPlain: boolean) {
    this.pool = pool
    this.outer = outer
    this.isPlain = isPlain
  }

  start(connection: Connection): void {
    this.connection = connection
    this.#loan = connection.loan
  }

  /** The lease held here, until its loan ends. */
  get lease(): Lease | undefined {
    const { connection, pool, isPlain } = this
    if (connection === undefined || connection.loan !== this.#loan || connection.state !== 'lent')
      return undefined
    return { connection, loan: this.#loan, pool, isPlain }
  }
}

let storage: AsyncLocalStorage<Scope | undefined> | undefined

/** Created with the first pool that needs it, because the storage costs every promise on Node 20 and 22. */
function storageOf(): AsyncLocalStorage<Scope | undefined> {
  if (storage !== undefined) return storage
  const made = newStorage<Scope | undefined>()
  // On Node 20 and 22 a microtask carries a context only if tracking was on when the microtask was queued. This run
  // turns tracking on from here on. It runs outside the current context, because from Node 24 on it would otherwise
  // leave a map behind in that context, and every later context would have to copy the map.
  outsideContext(() => made.run(new Scope(undefined as never, undefined, true), () => {}))
  storage = made
  return made
}

/** The leases that async contexts hold, for one pool that tracks contexts. */
export class ContextTracker {
  readonly #storage = storageOf()
  readonly #pool: PoolNode

  constructor(pool: PoolNode) {
    this.#pool = pool
  }

  /** The innermost scope of this context whose lease is still held. */
  get innermost(): Scope | undefined {
    let scope = this.#storage.getStore()
    while (scope !== undefined && scope.lease === undefined) scope = scope.outer
    return scope
  }

  /** The leases held around this call, from the innermost outwards. */
  get leases(): Lease[] {
    const leases: Lease[] = []
    for (let scope = this.innermost; scope !== undefined; scope = scope.outer) {
      const { lease } = scope
      if (lease !== undefined && !leases.some(({ connection }) => connection === lease.connection))
        leases.push(lease)
    }
    return leases
  }

  /**
   * For a plain acquire: opens a scope in the caller's context. It holds the lease once the connection is handed over.
   */
  plain(isDetached: boolean): Scope {
    const scope = new Scope(this.#pool, isDetached ? undefined : this.innermost, true)
    this.#storage.enterWith(scope)
    return scope
  }

  /** Runs the function of `use` in a scope of its own. */
  run<R>(frame: UseFrame, work: Work<R>, connection: Connection, isDetached: boolean): Promise<R> {
    const scope = new Scope(this.#pool, isDetached ? undefined : this.innermost, false)
    scope.start(connection)
    return this.#storage.run(scope, () => frame.run(work, connection))
  }

  /**
   * Under `'reuse'`: runs the function on the connection that its caller already holds, if there is one. Only one
   * nested `use` shares a connection at a time: of two branches of a `Promise.all`, the second gets its own connection,
   * so that their commands do not mix.
   */
  share<R>(work: Work<R>): Promise<R> | undefined {
    let around = this.innermost
    while (around !== undefined && (around.isPlain || around.pool !== this.#pool)) around = around.outer
    const connection = around?.lease?.connection
    if (around === undefined || connection?.frame === undefined || around.isSharing) return undefined
    return this.#shared(around, connection, connection.frame, work)
  }

  async #shared<R>(around: Scope, connection: Connection, frame: UseFrame, work: Work<R>): Promise<R> {
    const scope = new Scope(this.#pool, this.innermost, false)
    scope.start(connection)
    around.isSharing = true
    try {
      return await this.#storage.run(scope, () => frame.run(work, connection))
    } finally {
      around.isSharing = false
    }
  }
}
