import type { Command, CommandQueue } from '../client/client-types.ts'

/** ioredis takes their answers apart by itself, and throws where it gets that of another command instead. */
const SUBSCRIPTIONS: ReadonlySet<string> = new Set(
  'subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe'.split(' '),
)

/** May follow a subscription without an answer: ioredis does not throw where it takes their answers for that. */
const BESIDE: ReadonlySet<string> = new Set([...SUBSCRIPTIONS, 'ping', 'quit'])

/** Whose subscriptions an end of subscriptions does not count. */
const OTHERS: ReadonlyMap<string, readonly string[]> = new Map([
  ['unsubscribe', ['ssubscribe']],
  ['punsubscribe', ['ssubscribe']],
  ['sunsubscribe', ['subscribe', 'psubscribe']],
])

/** Commands whose answers are missing, or come in another shape, from then on. */
const CROOKED: ReadonlySet<string> = new Set(['CLIENT REPLY', 'HELLO', 'RESET'])

/**
 * Keeps apart what ioredis cannot stand on one connection. It matches answers to commands by their order alone; once
 * that is lost, the answer of another command makes it throw, out of the socket's event: nobody could catch that.
 */
export class ReplyOrder {
  #crooked: string | undefined
  #monitors = false
  readonly #begun = new Set<string>()

  /** Is this one after which some commands must not follow? @param what - how it is called, with its subcommand */
  static begins(what: string): boolean {
    return CROOKED.has(what) || what === 'MONITOR' || SUBSCRIPTIONS.has(what.toLowerCase())
  }

  /** @returns behind what the command must not be sent, if so */
  conflict(what: string, waiting: CommandQueue): string | undefined {
    if (this.#monitors) return 'MONITOR'
    const name = what.toLowerCase()
    if (SUBSCRIPTIONS.has(name) && this.#crooked !== undefined) return this.#crooked
    // It would take the end of the one kind for the end of all, and the messages of the other for answers.
    const mixed = OTHERS.get(name)?.find(other => this.#begun.has(other))
    if (mixed !== undefined) return mixed.toUpperCase()
    const unanswered = BESIDE.has(name) ? undefined : unansweredSubscription(waiting)
    if (unanswered !== undefined) return `${unanswered}, which has no answer yet`
    if (SUBSCRIPTIONS.has(name)) this.#begun.add(name)
    this.#monitors = what === 'MONITOR'
    if (CROOKED.has(what)) this.#crooked ??= what
    return undefined
  }
}

/** The name of a command as {@link ReplyOrder} knows it. A PING with a text of its own is answered by that, not by PONG. */
export function nameOf({ name, args }: Command): string {
  const word = String(name).toUpperCase()
  const isLonger = word === 'CLIENT' || (word === 'PING' && args.length > 0)
  return isLonger ? `${word} ${String(args[0]).toUpperCase()}` : word
}

/** Asked of the queue itself: some never get an answer, as ioredis miscounts them, or never sends them. */
function unansweredSubscription(waiting: CommandQueue): string | undefined {
  for (let index = 0; index < waiting.length; index += 1) {
    const { command } = waiting.peekAt(index) as { command?: Command }
    const name = String(command?.name).toLowerCase()
    if (SUBSCRIPTIONS.has(name)) return name.toUpperCase()
  }
  return undefined
}
