import type { Command, RedisClient } from '../client/client-types.ts'
import { isReplyError, onErrorReply } from '../client/replies/error-replies.ts'
import { isRedisCommand } from '../handle/command-effects.ts'
import type { WantedRole } from '../redis-pool-options.ts'

/**
 * Replies with which a server says that it is no longer the primary. A refused EXEC contains the reason, and so did
 * scripts before Redis 7. `UNBLOCKED` can also mean a CLIENT UNBLOCK.
 */
const NO_PRIMARY =
  /^READONLY\b|^UNBLOCKED force unblock\b|^EXECABORT .*: READONLY\b|^ERR Error running script\b.*-READONLY\b/

/** Replies with which a server says that it serves nobody at present, or not this connection. */
const NO_SERVICE =
  /^(?:MASTERDOWN|LOADING|NOAUTH)\b|^EXECABORT .*: (?:MASTERDOWN|LOADING|NOAUTH)\b|^ERR Error running script\b.*-MASTERDOWN\b/

/** Does this error reply mean that the connection must not be lent again? */
export const condemns = (error: unknown, wanted: WantedRole): error is Error =>
  isReplyError(error) &&
  (NO_SERVICE.test(error.message) || (wanted === 'primary' && NO_PRIMARY.test(error.message)))

/** Is called with error replies after which a connection must not be lent again. */
export interface ReplyListener {
  /** The server itself sent the reply. */
  lost(error: Error): void
  /** A script or a module may have sent the reply: they can return anything. */
  doubtful(error: Error): void
}

/** Watches all error replies of a client. */
export function watchReplies(client: RedisClient, wanted: WantedRole, listener: ReplyListener): void {
  onErrorReply(client, (error: Error, { name }: Command) => {
    if (!condemns(error, wanted)) return
    if (isRedisCommand(name)) listener.lost(error)
    else listener.doubtful(error)
  })
}
