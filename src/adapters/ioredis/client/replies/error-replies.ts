import type { Command, RedisClient } from '../client-types.ts'
import { hideSecrets, isSecret } from '../secrets.ts'

type Listener = (error: Error, command: Command) => void
/** @returns whether it has dealt with the command, which is then not rejected here */
type Interceptor = (error: Error, command: Command) => boolean

interface Watched {
  /** Why the server refuses the connection: the first error reply that says so. */
  refusal: Error | undefined
  listener: Listener | undefined
  interceptor: Interceptor | undefined
}

const watched = new WeakMap<RedisClient, Watched>()

type Internals = RedisClient & { handleReconnection(error: Error, item: { command: Command }): void }

/**
 * Watches all error replies of a client by replacing the method that ioredis calls for each of them, so other replies
 * cost nothing. It hides passwords in the errors, and remembers the server's reason while the connection is being made.
 */
export function watchErrorReplies(client: RedisClient): void {
  const { handleReconnection } = client as Internals
  const state: Watched = { refusal: undefined, listener: undefined, interceptor: undefined }
  watched.set(client, state)
  const watch = (given: Error, item: { command: Command }): void => {
    const { command } = item
    if (state.interceptor?.(given, command)) return
    if (isSecret(command.name)) hideSecrets(given, command)
    const isNew = client.status !== 'ready'
    if (isNew && state.refusal === undefined && !isUnsupported(given)) state.refusal = given
    const error = isNew && command.name === 'hello' ? inWordsOfRedis(given) : given
    handleReconnection.call(client, error, item)
    state.listener?.(error, command)
  }
  Object.defineProperty(client, 'handleReconnection', { value: watch, configurable: true, writable: true })
}

/** @param listener - is called with each error reply from now on, after the command has been rejected */
export function onErrorReply(client: RedisClient, listener: Listener): void {
  const state = watched.get(client)
  if (state !== undefined) state.listener = listener
}

/** @param interceptor - is called with each error reply from now on, before the command is rejected */
export function interceptErrorReplies(client: RedisClient, interceptor: Interceptor): void {
  const state = watched.get(client)
  if (state !== undefined) state.interceptor = interceptor
}

/** The error reply with which the server refused the connection while it was being made. */
export const refusalOf = (client: RedisClient): Error | undefined => watched.get(client)?.refusal

/** Errors with a code of their own concern the connection or the server, not an unknown command. */
const SPECIAL = /^(?!ERR |NOPERM )[A-Z]+ /
/** Errors without such a code that concern the connection too. */
const AGAINST_CONNECTION = /max number of clients|operation not permitted|invalid password|protected mode/i
const NO_COMMAND = new RegExp(
  [
    '^NOPERM\\b',
    '\\b(?:unknown|unsupported|invalid|unrecogni[sz]ed|illegal|no such)[ _](?:sub)?command',
    '\\b(?:invalid|illegal|unsupported) request\\b',
    '\\bnot (?:support(?:ed)?|allowed|available|permitted|implemented|recogni[sz]ed|enabled)\\b',
    '\\b(?:disabled|unsupported|unimplemented|forbidden|disallowed|prohibited|restricted|(?:permission|access) denied)\\b',
  ].join('|'),
  'i',
)

/**
 * Does the reply only say that the server, or a proxy in front of it, does not have the command or does not allow it to
 * this user? Each product words this differently: Envoy, twemproxy, managed services, servers with renamed commands.
 */
export const isUnsupported = (error: unknown): boolean =>
  isReplyError(error) &&
  !SPECIAL.test(error.message) &&
  !AGAINST_CONNECTION.test(error.message) &&
  NO_COMMAND.test(error.message)

export const isReplyError = (error: unknown): error is Error =>
  error instanceof Error && error.name === 'ReplyError'

/** How many nested causes are checked. */
const DEPTH = 5

/** What the server said: the error itself or the first of its causes that is a reply. */
export function replyWithin(error: unknown): Error | undefined {
  let cause = error
  for (let depth = 0; depth < DEPTH && cause instanceof Error; depth += 1) {
    const deeper = cause.cause
    if (isReplyError(cause)) return cause
    cause = deeper
  }
  return undefined
}

/** ioredis 6 falls back to the older protocol if HELLO is unknown, but only if the error has the words of Redis. */
function inWordsOfRedis(error: Error): Error {
  const isNegotiation = /NOPROTO|unknown command.*hello/i.test(error.message)
  if (isNegotiation || !isUnsupported(error) || /password/i.test(error.message)) return error
  error.message = `ERR unknown command 'HELLO' (the server said: ${error.message})`
  return error
}
