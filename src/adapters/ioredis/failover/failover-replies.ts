import { messageOf } from '../../../api/errors.ts'
import type { RedisClient } from '../client/client-types.ts'
import type { ClientLender } from '../handle/client-lender.ts'

/**
 * Replies by which a server says that it is not the primary any more, or not ready to be one. An EXEC that is refused
 * names the reason inside, and so did scripts before Redis 7. `UNBLOCKED` has a second meaning, a CLIENT UNBLOCK.
 */
const LOST =
  /^(?:READONLY|MASTERDOWN|LOADING)\b|^UNBLOCKED force unblock\b|^EXECABORT .*: (?:READONLY|MASTERDOWN|LOADING)\b|^ERR Error running script\b.*-(?:READONLY|MASTERDOWN)\b/

/** Does this error reply mean that the connection leads to the wrong server? */
export const isLost = (error: unknown): boolean =>
  error instanceof Error && error.name === 'ReplyError' && LOST.test(error.message)

/**
 * Watches the error replies of a client, whoever they are for, by the method that ioredis calls for each of them: other
 * replies cost nothing.
 */
export function watchReplies(client: RedisClient, lender: ClientLender, epoch: number): void {
  const watched = client as RedisClient & { handleReconnection(error: Error, item: unknown): void }
  const { handleReconnection } = watched
  const watch = (error: Error, item: unknown): void => {
    handleReconnection.call(client, error, item)
    if (!isLost(error) || lender.fault !== undefined) return
    lender.fault = `a reply '${messageOf(error).split(' ', 1)[0]}'`
    lender.context.failedOver(epoch, `the server replied: ${messageOf(error)}`)
  }
  Object.defineProperty(client, 'handleReconnection', { value: watch, configurable: true, writable: true })
}
