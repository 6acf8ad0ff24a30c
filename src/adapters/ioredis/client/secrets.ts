import type { Command } from './client-types.ts'

/**
 * Commands whose arguments may be passwords, in lower case as ioredis spells them. `SENTINEL SET … auth-pass` and
 * `MODULE LOADEX … CONFIG` are the reason for the last two.
 */
const SECRET: ReadonlySet<string> = new Set('acl auth config hello migrate module sentinel'.split(' '))

/** May the arguments of this command be passwords? */
export const isSecret = (name: string): boolean => SECRET.has(name) || SECRET.has(name.toLowerCase())

/** The text that replaces arguments. */
const HIDDEN = '(hidden)'

/**
 * Removes the arguments from the error reply to such a command. ioredis attaches them, and servers quote them, as in
 * "unknown command 'AUTH', with args beginning with: …". A reader of the error still sees which command failed and why.
 */
export function hideSecrets(error: Error, { name, args }: Pick<Command, 'name' | 'args'>): void {
  const failed = error as Error & { command?: { name?: unknown; args?: unknown } }
  if (failed.command !== undefined) failed.command = { name, args: args.length > 0 ? [HIDDEN] : [] }
  const { message } = error
  const hidden = hide(message, words(args))
  if (hidden === message) return
  const { stack } = error
  error.message = hidden
  // The stack was formatted when the error was created, and begins with the message.
  if (typeof stack === 'string') error.stack = stack.split(message).join(hidden)
}

/** Hides the arguments in an error and in all its causes. */
export function hideSecretsWithin(error: unknown, depth = 5): void {
  if (!(error instanceof Error) || depth === 0) return
  const { command } = error as { command?: { name?: unknown; args?: unknown } }
  if (typeof command?.name === 'string' && Array.isArray(command.args) && isSecret(command.name))
    hideSecrets(error, { name: command.name, args: command.args })
  hideSecretsWithin(error.cause, depth - 1)
  const { errors, previousErrors } = error as { errors?: unknown; previousErrors?: unknown }
  for (const list of [errors, previousErrors])
    if (Array.isArray(list)) for (const inner of list) hideSecretsWithin(inner, depth - 1)
}

/** Hides the arguments in any error that the command is rejected with, including the one for a lost connection. */
export function hideInRejection(command: Command): void {
  const { reject } = command
  command.reject = function (this: Command, error) {
    if (error instanceof Error) hideSecrets(error, command)
    return reject.call(this, error)
  }
}

/** Words that commands and servers use, which reveal nothing. */
const KEYWORD = /^(?:auth2?|setname|default|setuser|get|set|copy|replace|keys|\d)$/i

/** The arguments that could be secrets, longest first, because one may contain another. */
function words(args: readonly unknown[]): string[] {
  return args
    .flat()
    .map(String)
    .filter(word => word !== '' && !KEYWORD.test(word))
    .sort((a, b) => b.length - a.length)
}

/** Secrets shorter than this are only replaced inside quotes, because they could occur in the middle of other words. */
const SHORT = 4

function hide(message: string, secrets: readonly string[]): string {
  const quoted = message.search(/,? with args beginning with:/i)
  let text = quoted < 0 ? message : message.slice(0, quoted)
  for (const secret of secrets) {
    if (secret.length >= SHORT) text = text.split(secret).join(HIDDEN)
    else for (const quote of ["'", '"', '`']) text = text.split(quote + secret + quote).join(HIDDEN)
  }
  return text
}
