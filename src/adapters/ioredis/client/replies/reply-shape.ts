import type { RedisClient } from '../client-types.ts'
import type { ReplyScanner } from './reply-scanner.ts'

/** Does this command begin or end subscriptions? Case does not matter. */
export const isSubscription = (name: string): boolean =>
  name.length > 8 && name.length < 13 && /^[ps]?(?:un)?subscribe$/i.test(name)

/** The messages for subscribers, and how many entries each has. */
const MESSAGES: ReadonlyMap<string, number> = new Map([
  ['message', 3],
  ['pmessage', 4],
  ['smessage', 3],
])

/** The part of a queued command that is read here. */
type Head = { readonly command?: { readonly name: string } } | undefined

/**
 * Checks the replies that ioredis parses itself: messages for subscribers, and the replies to SUBSCRIBE and similar
 * commands. ioredis checks neither their shape nor whether the waiting command is the one that they answer.
 *
 * @param reply - as it has been read
 * @param head - the command that waits for its reply
 * @returns what is wrong with it, or undefined
 */
export function misfit(reply: ReplyScanner, client: RedisClient, head: unknown): string | undefined {
  if (reply.isError) return undefined
  const { protocol, subscriber } = (client.condition ?? {}) as { protocol?: number; subscriber?: unknown }
  const waiting = (head as Head)?.command?.name.toLowerCase() ?? ''
  const { isPush, isList, word = '' } = reply
  if (isList && (isPush || (protocol !== 3 && subscriber))) {
    const wrong = misfitOfMessage(reply, waiting, protocol)
    if (wrong !== undefined || isPush || MESSAGES.has(word) || isSubscription(word)) return wrong
  }
  // A text is QUEUED, inside a transaction.
  if (!isSubscription(waiting) || reply.isText) return undefined
  const mayLackChannel = waiting.includes('un') || !reply.hasNullAt(1)
  return isList && isSubscription(word) && mayLackChannel
    ? misfitOfMessage(reply, waiting, protocol)
    : `an invalid reply to ${waiting.toUpperCase()}`
}

function misfitOfMessage(
  reply: ReplyScanner,
  waiting: string,
  protocol: number | undefined,
): string | undefined {
  const { word = '', size } = reply
  if (reply.isPush && size === 0) return undefined
  if (size === 0 || reply.hasNullAt(0)) return 'a message without a name'
  const entries = MESSAGES.get(word)
  if (entries !== undefined)
    return size < entries || [1, 2, 3].some(index => reply.hasNullAt(index)) ? `half a ${word}` : undefined
  if (!isSubscription(word)) return undefined
  const isEnd = word.includes('un')
  if (size < 3 || reply.hasNullAt(2) || (reply.hasNullAt(1) && !isEnd))
    return `half a reply to ${word.toUpperCase()}`
  // With several of them, ioredis may have miscounted. A server may also end subscriptions by itself, which ioredis 6
  // handles.
  return isSubscription(waiting) || (isEnd && protocol !== undefined)
    ? undefined
    : `a reply to ${word.toUpperCase()} that nobody asked for`
}
