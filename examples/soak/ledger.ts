import { now } from './clock.ts'
import type { Loan } from './pool-watch.ts'

/** What the service does with a connection. */
export type Kind = 'read' | 'write' | 'count' | 'transfer' | 'push' | 'pop'

/** A piece of work whose connection failed under it. */
export interface CutOff {
  readonly kind: Kind
  /** The name of the connection. */
  readonly connection: string
  readonly loan: Loan | undefined
  readonly message: string
}

/** No operation of this service takes as long as this, unless it hangs. Milliseconds. */
export const HANG_MILLIS = 6000

/** What the users of the service noticed. */
export class Ledger {
  readonly served: Record<Kind, number> = { read: 0, write: 0, count: 0, transfer: 0, push: 0, pop: 0 }
  readonly cutOff: CutOff[] = []
  /** Operations that the pool itself refused, by the code of the error. */
  readonly refused = new Map<string, number>()
  /** Anything that should never happen: a wrong answer, an error of the server. */
  readonly wrong: string[] = []
  /** Cut off, and done again on another connection. */
  retried = 0
  /** Given up after several attempts. */
  givenUp = 0
  /** Transfers that another transfer got in the way of: WATCH saw it, and they were begun anew. */
  conflicts = 0
  /** Cut off after the deciding command was sent: whether it was done, the caller cannot know. */
  unknown = { count: 0, transfer: 0 }
  readonly #open = new Map<number, { kind: Kind; since: number }>()
  readonly #hung = new Map<number, string>()
  #lastId = 0

  get operations(): number {
    return Object.values(this.served).reduce((sum, count) => sum + count, 0)
  }

  begin(kind: Kind): number {
    const id = ++this.#lastId
    this.#open.set(id, { kind, since: now() })
    return id
  }

  end(id: number): void {
    this.#note(id)
    this.#open.delete(id)
  }

  /** What has hung so far, and hangs now. */
  hung(): string[] {
    for (const id of this.#open.keys()) this.#note(id)
    return [...this.#hung.values()]
  }

  #note(id: number): void {
    const open = this.#open.get(id)
    if (open === undefined) return
    const millis = Math.round(now() - open.since)
    if (millis >= HANG_MILLIS) this.#hung.set(id, `${open.kind} for ${millis} ms`)
  }
}
