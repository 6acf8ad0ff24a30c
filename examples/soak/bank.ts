import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { between } from './clock.ts'
import type { Ledger } from './ledger.ts'
import type { Loans } from './loans.ts'

const ACCOUNTS = 10
const OPENING_BALANCE = 100

export interface BankResult {
  readonly expectedTotal: number
  readonly total: number
  /** Transfers that the clients know of, those they cannot know of, and those that the server counted. */
  readonly confirmed: number
  readonly unknown: number
  readonly counted: number
}

/**
 * Transfers by WATCH, MULTI and EXEC. The new balances are computed here, from what was read before: if a WATCH were
 * lost, or one borrower's transaction got mixed up with another's, money would be made or lost.
 */
export class Bank {
  readonly #loans: Loans
  readonly #ledger: Ledger
  readonly #accounts: readonly string[]
  readonly #counter: string
  #confirmed = 0

  constructor(loans: Loans, ledger: Ledger, prefix: string) {
    this.#loans = loans
    this.#ledger = ledger
    this.#accounts = Array.from({ length: ACCOUNTS }, (_, index) => `${prefix}account:${index}`)
    this.#counter = `${prefix}transfers`
  }

  get keys(): readonly string[] {
    return [...this.#accounts, this.#counter]
  }

  async open(client: Redis): Promise<void> {
    for (const account of this.#accounts) await client.set(account, OPENING_BALANCE)
  }

  /** One transfer, begun anew as often as another gets in its way. */
  async transfer(): Promise<void> {
    const from = this.#any()
    const to = this.#any()
    if (from === to) return
    const amount = Math.ceil(between(0, 20))
    for (;;) {
      let sent = false
      const outcome = await this.#loans.once('transfer', async client => {
        const plan = await this.#plan(client, from, to, amount)
        if (plan === undefined) return 'poor'
        sent = true
        const replies = await plan.exec()
        return replies === null ? 'conflict' : 'moved'
      })
      if (outcome.ok && outcome.value === 'conflict') {
        this.#ledger.conflicts += 1
        continue
      }
      if (outcome.ok) {
        if (outcome.value === 'moved') this.#confirmed += 1
        return
      }
      if (sent) {
        // Whether EXEC was done cannot be known: to do it again might move the money twice.
        this.#ledger.unknown.transfer += 1
        return
      }
      this.#ledger.retried += 1
    }
  }

  async settle(client: Redis): Promise<BankResult> {
    const balances = await client.mget(...this.#accounts)
    return {
      expectedTotal: ACCOUNTS * OPENING_BALANCE,
      total: balances.reduce((sum, balance) => sum + Number(balance), 0),
      confirmed: this.#confirmed,
      unknown: this.#ledger.unknown.transfer,
      counted: Number(await client.get(this.#counter)),
    }
  }

  /** Everything but the EXEC. */
  async #plan(client: Redis, from: string, to: string, amount: number) {
    await client.watch(from, to)
    const [fromBalance, toBalance] = (await client.mget(from, to)).map(Number) as [number, number]
    // The decision takes a moment, in which another transfer may change the accounts.
    await delay(1)
    if (fromBalance < amount) {
      await client.unwatch()
      return undefined
    }
    return client
      .multi()
      .set(from, fromBalance - amount)
      .set(to, toBalance + amount)
      .incr(this.#counter)
  }

  #any(): string {
    return this.#accounts[Math.floor(Math.random() * ACCOUNTS)] as string
  }
}
