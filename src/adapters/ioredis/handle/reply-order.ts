import type { Command, CommandQueue } from '../client/client-types.ts'

/** ioredis parses the replies to these itself, and throws if it gets the reply to another command instead. */
const SUBSCRIPTIONS: ReadonlySet<string> = new Set(
  'subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe'.split(' '),
)

/**
 * Commands that may follow a subscription that has no answer yet: ioredis does not throw if it mistakes their replies.
 */
const HARMLESS: ReadonlySet<string> = new Set([...SUBSCRIPTIONS, 'ping', 'quit'])

/** For each command that ends subscriptions: the kinds that it does not count. */
const UNCOUNTED: ReadonlyMap<string, readonly string[]> = new Map([
  ['unsubscribe', ['ssubscribe']],
  ['punsubscribe', ['ssubscribe']],
  ['sunsubscribe', ['subscribe', 'psubscribe']],
])

/** Commands after which replies are missing or have another shape. */
const REPLY_CHANGING: ReadonlySet<string> = new Set(['CLIENT REPLY', 'HELLO', 'RESET'])

/** In lower case, the commands after which some others may not follow. */
const ORDERED: ReadonlySet<string> = new Set([...SUBSCRIPTIONS, 'client', 'hello', 'monitor', 'reset'])

/**
 * Keeps commands apart that ioredis cannot handle together on one connection. ioredis matches replies to commands by
 * order alone. Once the order is lost, it throws on the reply to another command, inside the socket's event, where
 * nobody could catch the error.
 */
export class ReplyOrder {
  #replyChange: string | undefined
  #monitors = false
  readonly #begun = new Set<string>()

  /** May some commands not follow this one? */
  static isNeededFor(command: Command): boolean {
    const name = String(command.name).toLowerCase()
    return ORDERED.has(name) && (name !== 'client' || REPLY_CHANGING.has(nameOf(command)))
  }

  /** @returns the earlier command after which this one must not be sent, or undefined */
  conflict(what: string, waiting: CommandQueue): string | undefined {
    if (this.#monitors) return 'MONITOR'
    const name = what.toLowerCase()
    if (SUBSCRIPTIONS.has(name) && this.#replyChange !== undefined) return this.#replyChange
    // ioredis would take the end of one kind of subscription for the end of all, and messages of the other for replies.
    const mixed = UNCOUNTED.get(name)?.find(other => this.#begun.has(other))
    if (mixed !== undefined) return mixed.toUpperCase()
    const unanswered = HARMLESS.has(name) ? undefined : unansweredSubscription(waiting)
    if (unanswered !== undefined) return `${unanswered}, which has no answer yet`
    if (SUBSCRIPTIONS.has(name)) this.#begun.add(name)
    this.#monitors = what === 'MONITOR'
    if (REPLY_CHANGING.has(what)) this.#replyChange ??= what
    return undefined
  }
}

/** The name of a command for {@link ReplyOrder}. A PING with a text is distinct: its reply is that text, not PONG. */
export function nameOf({ name, args }: Command): string {
  const word = String(name).toUpperCase()
  const isLonger = word === 'CLIENT' || (word === 'PING' && args.length > 0)
  return isLonger ? `${word} ${String(args[0]).toUpperCase()}` : word
}

/**
 * Checks the queue itself, because some subscriptions never get an answer: ioredis miscounts them or never sends them.
 */
function unansweredSubscription(waiting: CommandQueue): string | undefined {
  for (let index = 0; index < waiting.length; index += 1) {
    const { command } = waiting.peekAt(index) as { command?: Command }
    const name = String(command?.name).toLowerCase()
    if (SUBSCRIPTIONS.has(name)) return name.toUpperCase()
  }
  return undefined
}
