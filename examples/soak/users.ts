import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { between } from './clock.ts'
import type { Ledger } from './ledger.ts'
import type { Loans } from './loans.ts'

export interface VisitsResult {
  /** INCRs answered, INCRs cut off before their answer, and what the server counted. */
  readonly confirmed: number
  readonly unknown: number
  readonly counted: number
}

/** The users' own data: each reads and writes a key of its own, and all count in one. */
export class Desk {
  readonly #loans: Loans
  readonly #ledger: Ledger
  readonly #prefix: string
  readonly #counter: string
  readonly #keys = new Set<string>()

  constructor(loans: Loans, ledger: Ledger, prefix: string) {
    this.#loans = loans
    this.#ledger = ledger
    this.#prefix = prefix
    this.#counter = `${prefix}visits`
  }

  get keys(): readonly string[] {
    return [...this.#keys, this.#counter]
  }

  user(number: number): User {
    const key = `${this.#prefix}user:${number}`
    this.#keys.add(key)
    return new User(this.#loans, this.#ledger, key, this.#counter)
  }

  async settle(client: Redis): Promise<VisitsResult> {
    return {
      confirmed: this.#ledger.served.count,
      unknown: this.#ledger.unknown.count,
      counted: Number(await client.get(this.#counter)),
    }
  }
}

export class User {
  readonly #loans: Loans
  readonly #ledger: Ledger
  readonly #key: string
  readonly #counter: string
  /** What a read may find: one value, or two after a write that was given up. */
  #possible = new Set<string | null>([null])
  #version = 0

  constructor(loans: Loans, ledger: Ledger, key: string, counter: string) {
    this.#loans = loans
    this.#ledger = ledger
    this.#key = key
    this.#counter = counter
  }

  async act(): Promise<void> {
    const dice = Math.random()
    if (dice < 0.5) await this.#read()
    else if (dice < 0.8) await this.#write()
    else await this.#count()
  }

  async #read(): Promise<void> {
    const outcome = await this.#loans.insist('read', async client => {
      const value = await client.get(this.#key)
      await elsewhere()
      return value
    })
    if (!outcome.ok) return
    // The answer of somebody else's command would differ: every key has its own values.
    if (!this.#possible.has(outcome.value)) {
      this.#ledger.wrong.push(`read ${this.#key}: got ${outcome.value}, not ${[...this.#possible]}`)
    }
    this.#possible = new Set([outcome.value])
  }

  async #write(): Promise<void> {
    const value = `${this.#key} version ${++this.#version}`
    const outcome = await this.#loans.insist('write', async client => {
      await elsewhere()
      return client.set(this.#key, value)
    })
    if (outcome.ok) this.#possible = new Set([value])
    else this.#possible.add(value)
  }

  /** Not tried again when cut off: it might count twice. */
  async #count(): Promise<void> {
    let sent = false
    const outcome = await this.#loans.once('count', async client => {
      await elsewhere()
      sent = true
      return client.incr(this.#counter)
    })
    if (!outcome.ok && sent) this.#ledger.unknown.count += 1
  }
}

/** What a request does besides, while it holds the connection: it renders, it asks another service. */
function elsewhere(): Promise<void> {
  return delay(between(2, 6))
}
