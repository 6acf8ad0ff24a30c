import type { Command, RedisClient } from './client-types.ts'
import { hideSecrets, isSecret } from './secrets.ts'

type Listener = (error: Error, command: Command) => void

interface Watched {
  /** Why the server refuses the connection, in its own words: the first error reply that says so. */
  refusal: Error | undefined
  listener: Listener | undefined
}

const watched = new WeakMap<RedisClient, Watched>()

type Internals = RedisClient & { handleReconnection(error: Error, item: { command: Command }): void }

/**
 * Watches the error replies of a client, whoever they are for, by the method that ioredis calls for each of them: other
 * replies cost nothing. It hides passwords from then on, and keeps the server's words while the connection is made.
 */
export function watchErrorReplies(client: RedisClient): void {
  const { handleReconnection } = client as Internals
  const state: Watched = { refusal: undefined, listener: undefined }
  watched.set(client, state)
  const watch = (given: Error, item: { command: Command }): void => {
    const { command } = item
    if (isSecret(command.name)) hideSecrets(given, command)
    const isNew = client.status !== 'ready'
    if (isNew && state.refusal === undefined && !isUnsupported(given)) state.refusal = given
    const error = isNew && command.name === 'hello' ? inWordsOfRedis(given) : given
    handleReconnection.call(client, error, item)
    state.listener?.(error, command)
  }
  Object.defineProperty(client, 'handleReconnection', { value: watch, configurable: true, writable: true })
}

/** @param listener - is told of each error reply from now on, after whoever sent the command */
export function onErrorReply(client: RedisClient, listener: Listener): void {
  const state = watched.get(client)
  if (state !== undefined) state.listener = listener
}

/** What the server said against the connection while it was being made. */
export const refusalOf = (client: RedisClient): Error | undefined => watched.get(client)?.refusal

/** Codes of errors that are about the connection or the server, and not about a command that is not there. */
const SPECIAL = /^(?!ERR |NOPERM )[A-Z]+ /
/** Errors without such a code that are about the connection all the same. */
const AGAINST_CONNECTION = /max number of clients|operation not permitted|invalid password|protected mode/i
const NO_COMMAND =
  /^NOPERM\b|\b(?:unknown|unsupported|invalid|unrecognized) (?:sub)?command|\binvalid request\b|\bnot (?:support(?:ed)?|allowed|available|permitted|implemented)\b|\bdisabled\b/i

/**
 * Does the reply say no more than that the server, or a proxy before it, does not have the command, or not for this
 * user? Each has its own words for that: Envoy, twemproxy, managed services, servers whose commands were renamed.
 */
export const isUnsupported = (error: unknown): boolean =>
  isReplyError(error) &&
  !SPECIAL.test(error.message) &&
  !AGAINST_CONNECTION.test(error.message) &&
  NO_COMMAND.test(error.message)

export const isReplyError = (error: unknown): error is Error =>
  error instanceof Error && error.name === 'ReplyError'

/**
 * ioredis 6 goes on with the older protocol where HELLO is not known, if that is said in the words of Redis.
 */
function inWordsOfRedis(error: Error): Error {
  const isNegotiation = /NOPROTO|unknown command.*hello/i.test(error.message)
  if (isNegotiation || !isUnsupported(error) || /password/i.test(error.message)) return error
  error.message = `ERR unknown command 'HELLO' (the server said: ${error.message})`
  return error
}
