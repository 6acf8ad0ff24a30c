import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { isPoolError, type Pool } from '../../src/index.ts'
import type { Kind, Ledger } from './ledger.ts'
import type { Loan, PoolWatch } from './pool-watch.ts'

/** How a piece of work ended. */
export type Outcome<R> = { readonly ok: true; readonly value: R } | { readonly ok: false }

const MOST_ATTEMPTS = 5
const REFUSED_PAUSE_MILLIS = 20

/** Does the service's work on connections of the pool, and writes down how it ended. */
export class Loans {
  readonly #pool: Pool<Redis>
  readonly #watch: PoolWatch
  readonly #ledger: Ledger

  constructor(pool: Pool<Redis>, watch: PoolWatch, ledger: Ledger) {
    this.#pool = pool
    this.#watch = watch
    this.#ledger = ledger
  }

  /** One loan, one attempt. Failure is an outcome: what to do about it, only the caller can know. */
  async once<R>(kind: Kind, work: (client: Redis) => Promise<R>): Promise<Outcome<R>> {
    const ledger = this.#ledger
    const id = ledger.begin(kind)
    let connection = ''
    let loan: Loan | undefined
    try {
      const value = await this.#pool.use(client => {
        connection = client.options.connectionName ?? ''
        // Now, and not after a failure: the next loan of the same connection would overwrite it.
        loan = this.#watch.loan(client)
        return work(client)
      })
      ledger.served[kind] += 1
      return { ok: true, value }
    } catch (error) {
      if (isPoolError(error)) {
        ledger.refused.set(error.code, (ledger.refused.get(error.code) ?? 0) + 1)
        // To come back at once would spin: a refusal takes no turn of the event loop.
        await delay(REFUSED_PAUSE_MILLIS)
      } else if (!(error instanceof Error)) ledger.wrong.push(`${kind}: ${String(error)}`)
      else if (error.name === 'ReplyError') ledger.wrong.push(`${kind}: ${error.message}`)
      else ledger.cutOff.push({ kind, connection, loan, message: error.message })
      return { ok: false }
    } finally {
      ledger.end(id)
    }
  }

  /** For work that may be done twice: tries again on another connection. */
  async insist<R>(kind: Kind, work: (client: Redis) => Promise<R>): Promise<Outcome<R>> {
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.once(kind, work)
      if (outcome.ok) return outcome
      if (attempt === MOST_ATTEMPTS) {
        this.#ledger.givenUp += 1
        return outcome
      }
      this.#ledger.retried += 1
    }
  }
}
