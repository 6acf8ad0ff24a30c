import type { AsyncLocalStorage } from 'node:async_hooks'
import { newStorage, outsideContext } from '../runtime/async-context.ts'
import type { Held, Lease, LeaseScope, PoolNode, UseFrame, Work } from './host.ts'

/*
 * `nested: 'forbid'` and `'reuse'` have to know in the call itself what its caller holds, so pools that ask for them note
 * it in the async context. No other pool does: on Node 20 and 22 a context slows down every promise of the process.
 *
 *     context of a request ──► scope ──outer──► scope ──outer──► …      from the innermost lease outwards
 */

/** What an async context knows of one lease: that it was taken here, and which were held around it. */
export class Scope implements LeaseScope {
  /** Not before the connection has been handed over. */
  lease: Lease | undefined = undefined
  #loan = 0
  readonly pool: PoolNode
  readonly outer: Scope | undefined
  /** Of `use`. After a plain acquire also the caller's caller finds itself in the scope: that is only a hint then. */
  readonly isPlain: boolean
  /** `'reuse'`: a nested `use` has the connection now. */
  isSharing = false

  constructor(pool: PoolNode, outer: Scope | undefined, isPlain: boolean) {
    this.pool = pool
    this.outer = outer
    this.isPlain = isPlain
  }

  begin(lease: Lease): void {
    this.lease = lease
    this.#loan = lease.loan
  }

  /** What is held here, until the loan ends. */
  get held(): Held | undefined {
    const { lease, pool, isPlain } = this
    if (lease === undefined || lease.loan !== this.#loan || lease.state !== 'lent') return undefined
    return { lease, loan: this.#loan, pool, isPlain }
  }
}

let storage: AsyncLocalStorage<Scope | undefined> | undefined

/** Made with the first pool that asks for it. */
function storageOf(): AsyncLocalStorage<Scope | undefined> {
  if (storage !== undefined) return storage
  const made = newStorage<Scope | undefined>()
  // On Node 20 and 22 a microtask has a context of its own only if tracking was on when it was queued: on from here on.
  // Outside, as from Node 24 on it would leave a map behind here, which each further context would have to copy.
  outsideContext(() => made.run(new Scope(undefined as never, undefined, true), () => {}))
  storage = made
  return made
}

/** The leases that async contexts hold, of pools that ask for it. */
export class ContextTracker {
  readonly #storage = storageOf()
  readonly #pool: PoolNode

  constructor(pool: PoolNode) {
    this.#pool = pool
  }

  /** The innermost scope of this context whose lease is held. */
  get innermost(): Scope | undefined {
    let scope = this.#storage.getStore()
    while (scope !== undefined && scope.held === undefined) scope = scope.outer
    return scope
  }

  /** What is held around this call, from the innermost outwards. */
  get held(): Held[] {
    const leases: Held[] = []
    for (let scope = this.innermost; scope !== undefined; scope = scope.outer) {
      const { held } = scope
      if (held !== undefined && !leases.some(({ lease }) => lease === held.lease)) leases.push(held)
    }
    return leases
  }

  /** A plain acquire: its caller's context holds the lease, from when it has been handed over. */
  plain(isDetached: boolean): Scope {
    const scope = new Scope(this.#pool, isDetached ? undefined : this.innermost, true)
    this.#storage.enterWith(scope)
    return scope
  }

  /** Runs the function of `use` in a scope of its own. */
  run<R>(frame: UseFrame, work: Work<R>, isDetached: boolean): Promise<R> {
    const scope = new Scope(this.#pool, isDetached ? undefined : this.innermost, false)
    scope.begin(frame.lease)
    return this.#storage.run(scope, () => frame.run(work))
  }

  /**
   * `'reuse'`: runs the function on the connection that its caller holds already, if it does. One at a time: of two
   * branches of a `Promise.all` the second gets a connection of its own, so that their commands do not mix.
   */
  share<R>(work: Work<R>): Promise<R> | undefined {
    let around = this.innermost
    while (around !== undefined && (around.isPlain || around.pool !== this.#pool)) around = around.outer
    const lease = around?.held?.lease
    if (around === undefined || lease?.frame === undefined || around.isSharing) return undefined
    return this.#shared(around, lease.frame, work)
  }

  async #shared<R>(around: Scope, frame: UseFrame, work: Work<R>): Promise<R> {
    const scope = new Scope(this.#pool, this.innermost, false)
    scope.begin(frame.lease)
    around.isSharing = true
    try {
      return await this.#storage.run(scope, () => frame.run(work))
    } finally {
      around.isSharing = false
    }
  }
}
