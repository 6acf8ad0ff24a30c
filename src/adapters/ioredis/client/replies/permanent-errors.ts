import { isPoolError } from '../../../../api/errors.ts'
import { isBug } from '../../../../connecting/connect-failure.ts'
import { isOfCredentials } from '../credentials.ts'
import { replyWithin } from './error-replies.ts'

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

const BUG = 'It looks like a bug in'
/** What runs while a client connects. */
const CODE = 'the function that makes the client, in prepare, or in the options of ioredis'
const STACK = ', which trying again does not fix: see the stack of the cause'

/**
 * Checks whether this failure to connect will not go away by trying again.
 *
 * @returns what to do about it, or false if trying again may help
 */
export function permanentAdvice(error: unknown): string | false {
  const isTheirs = isOfCredentials(error)
  if (isTheirs && isPoolError(error, 'POOL_BAD_OPTIONS'))
    return 'Correct what the function credentials returns'
  if (isBug(error)) return isTheirs ? `${BUG} the function credentials${STACK}` : `${BUG} ${CODE}${STACK}`
  const said = replyWithin(error)?.message
  return (said !== undefined && PERMANENT.find(([reply]) => reply.test(said))?.[1]) || false
}
