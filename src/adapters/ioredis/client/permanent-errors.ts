import { isReplyError } from './error-replies.ts'

/** Replies that every new connection would get as well, with advice for each. */
const PERMANENT: readonly (readonly [reply: RegExp, advice: string])[] = [
  [/^WRONGPASS\b|^ERR invalid password/i, 'Correct the username or the password'],
  [
    /^NOAUTH\b|operation not permitted/i,
    'The server asks for a password: set the option password, and username',
  ],
  [/^NOPERM\b/, 'Grant the user this permission, or connect as another user'],
  [/^ERR (?:invalid DB index|DB index is out of range|SELECT is not allowed)/i, 'Correct the option db'],
  [
    /^DENIED\b|protected mode/i,
    "The server's protected mode refuses connections from here: see its configuration",
  ],
]

/** How many nested causes are checked. */
const DEPTH = 5

/**
 * Checks whether this failure to connect will not go away by trying again.
 *
 * @returns what to do about it, or false if trying again may help
 */
export function permanentAdvice(error: unknown): string | false {
  let cause = error
  for (let depth = 0; depth < DEPTH && cause instanceof Error; depth += 1) {
    const { message, cause: deeper } = cause
    if (isReplyError(cause)) return PERMANENT.find(([reply]) => reply.test(message))?.[1] ?? false
    cause = deeper
  }
  return false
}
