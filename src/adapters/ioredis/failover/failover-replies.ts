import type { Command, RedisClient } from '../client/client-types.ts'
import { isReplyError, onErrorReply } from '../client/error-replies.ts'
import { isRedisCommand } from '../handle/command-effects.ts'
import type { WantedRole } from '../redis-pool-options.ts'

/**
 * Replies by which a server says that it is not the primary any more. An EXEC that is refused names the reason inside, and
 * so did scripts before Redis 7. `UNBLOCKED` has a second meaning, a CLIENT UNBLOCK.
 */
const NO_PRIMARY =
  /^READONLY\b|^UNBLOCKED force unblock\b|^EXECABORT .*: READONLY\b|^ERR Error running script\b.*-READONLY\b/

/** Replies by which a server says that it serves nobody now, or not this connection. */
const NO_SERVICE =
  /^(?:MASTERDOWN|LOADING|NOAUTH)\b|^EXECABORT .*: (?:MASTERDOWN|LOADING|NOAUTH)\b|^ERR Error running script\b.*-MASTERDOWN\b/

/** Does this error reply mean that the connection must not be lent again? */
export const condemns = (error: unknown, wanted: WantedRole): error is Error =>
  isReplyError(error) &&
  (NO_SERVICE.test(error.message) || (wanted === 'primary' && NO_PRIMARY.test(error.message)))

/** Hears of replies that condemn a connection. */
export interface ReplyListener {
  /** The server has said so itself. */
  lost(error: Error): void
  /** It may have been said by a script, or a module: they can make any reply. */
  doubtful(error: Error): void
}

/** Watches the error replies of a client, whoever they are for. */
export function watchReplies(client: RedisClient, wanted: WantedRole, listener: ReplyListener): void {
  onErrorReply(client, (error: Error, { name }: Command) => {
    if (!condemns(error, wanted)) return
    if (isRedisCommand(name)) listener.lost(error)
    else listener.doubtful(error)
  })
}
