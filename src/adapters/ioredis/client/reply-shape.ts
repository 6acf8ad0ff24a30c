import type { RedisClient } from './client-types.ts'
import type { ReplyScanner } from './reply-scanner.ts'

/** Is that a command which begins or ends subscriptions? In whatever case it was written. */
export const isSubscription = (name: string): boolean =>
  name.length > 8 && name.length < 13 && /^[ps]?(?:un)?subscribe$/i.test(name)

/** Messages of subscribers, and of how many entries. */
const MESSAGES: ReadonlyMap<string, number> = new Map([
  ['message', 3],
  ['pmessage', 4],
  ['smessage', 3],
])

/** A command of the queue, as far as it is looked at. */
type Head = { readonly command?: { readonly name: string } } | undefined

/**
 * ioredis takes apart by itself what is for subscribers: messages, and the answers to SUBSCRIBE and its like. It does not
 * look whether they have that shape, nor whether the command that waits is the one they answer.
 *
 * @param reply - as it has been read
 * @param head - the command that waits for its reply
 * @returns what is wrong with it
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
  // A text is QUEUED, in a transaction.
  if (!isSubscription(waiting) || reply.isText) return undefined
  const mayLackChannel = waiting.includes('un') || !reply.hasNullAt(1)
  return isList && isSubscription(word) && mayLackChannel
    ? misfitOfMessage(reply, waiting, protocol)
    : `a reply to ${waiting.toUpperCase()} that is none`
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
  // Which of several, ioredis may have miscounted; and a server may end subscriptions by itself, as its version 6 knows.
  return isSubscription(waiting) || (isEnd && protocol !== undefined)
    ? undefined
    : `a reply to ${word.toUpperCase()} that nobody asked for`
}
