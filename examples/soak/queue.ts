import type { Redis } from 'ioredis'
import type { Ledger } from './ledger.ts'
import type { Loans } from './loans.ts'

/** How long a BLPOP waits for a job. Seconds. */
const PATIENCE_SECONDS = 1

export interface QueueResult {
  /** Jobs whose RPUSH was answered. */
  readonly pushed: number
  /** RPUSHes cut off before their answer; so many of these jobs came through after all. */
  readonly uncertain: number
  readonly uncertainArrived: number
  readonly consumed: number
  readonly twice: number
  /** Still in the list at the end. */
  readonly left: number
  /** Answered pushes that nobody consumed and that are not in the list either. */
  readonly lost: number
  /** BLPOPs cut off: each may have taken one job from the list and its answer with it. */
  readonly popsCutOff: number
}

/** Jobs in a Redis list: RPUSH here, BLPOP there. Every job has a number, so that each can be accounted for. */
export class Queue {
  readonly #loans: Loans
  readonly #ledger: Ledger
  readonly #key: string
  readonly #pushed = new Set<string>()
  readonly #uncertain = new Set<string>()
  readonly #consumed = new Map<string, number>()
  #lastJob = 0

  constructor(loans: Loans, ledger: Ledger, prefix: string) {
    this.#loans = loans
    this.#ledger = ledger
    this.#key = `${prefix}jobs`
  }

  get keys(): readonly string[] {
    return [this.#key]
  }

  /** Not tried again when cut off: the job may be in the list already. */
  async push(): Promise<void> {
    const job = String(++this.#lastJob)
    const outcome = await this.#loans.once('push', client => client.rpush(this.#key, job))
    if (outcome.ok) this.#pushed.add(job)
    else this.#uncertain.add(job)
  }

  /** @returns false when no job came in time */
  async pop(): Promise<boolean> {
    const outcome = await this.#loans.once('pop', client => client.blpop(this.#key, PATIENCE_SECONDS))
    // Cut off: the next BLPOP goes on where this one stood.
    if (!outcome.ok) return true
    if (outcome.value === null) return false
    const [, job] = outcome.value
    this.#consumed.set(job, (this.#consumed.get(job) ?? 0) + 1)
    return true
  }

  async settle(client: Redis): Promise<QueueResult> {
    const left = new Set(await client.lrange(this.#key, 0, -1))
    const consumed = this.#consumed
    return {
      pushed: this.#pushed.size,
      uncertain: this.#uncertain.size,
      uncertainArrived: [...this.#uncertain].filter(job => consumed.has(job)).length,
      consumed: consumed.size,
      twice: [...consumed.values()].filter(times => times > 1).length,
      left: left.size,
      lost: [...this.#pushed].filter(job => !consumed.has(job) && !left.has(job)).length,
      popsCutOff: this.#ledger.cutOff.filter(({ kind }) => kind === 'pop').length,
    }
  }
}
