import type { Command } from './client-types.ts'

/**
 * Commands whose arguments may be passwords: `SENTINEL SET … auth-pass` and `MODULE LOADEX … CONFIG` take some as well. In
 * lower case, as ioredis spells them.
 */
const SECRET: ReadonlySet<string> = new Set('acl auth config hello migrate module sentinel'.split(' '))

/** May the arguments of this command be passwords? */
export const isSecret = (name: string): boolean => SECRET.has(name) || SECRET.has(name.toLowerCase())

/** What stands in the place of arguments. */
const HIDDEN = '(hidden)'

/**
 * Takes the arguments out of the error that such a command is answered by: ioredis attaches them, and a server quotes
 * them, as in "unknown command 'AUTH', with args beginning with: …". Whoever logs the error, or reads it as the cause of
 * another, sees which command failed and why.
 */
export function hideSecrets(error: Error, { name, args }: Pick<Command, 'name' | 'args'>): void {
  const failed = error as Error & { command?: { name?: unknown; args?: unknown } }
  if (failed.command !== undefined) failed.command = { name, args: args.length > 0 ? [HIDDEN] : [] }
  const { message } = error
  const hidden = hide(message, words(args))
  if (hidden === message) return
  const { stack } = error
  error.message = hidden
  // It was written when the error was made, and begins with the message.
  if (typeof stack === 'string') error.stack = stack.split(message).join(hidden)
}

/** The command of this error, if it has one, is looked at; and its causes. */
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

/** Whatever the command is rejected with, also when its connection is lost, does not have its arguments. */
export function hideInRejection(command: Command): void {
  const { reject } = command
  command.reject = function (this: Command, error) {
    if (error instanceof Error) hideSecrets(error, command)
    return reject.call(this, error)
  }
}

/** Names that commands and servers use, and which say nothing. */
const KEYWORD = /^(?:auth2?|setname|default|setuser|get|set|copy|replace|keys|\d)$/i

/** The arguments that could be secrets, the longest first: one may be part of another. */
function words(args: readonly unknown[]): string[] {
  return args
    .flat()
    .map(String)
    .filter(word => word !== '' && !KEYWORD.test(word))
    .sort((a, b) => b.length - a.length)
}

/** Shorter ones are looked for in quotes alone: they would be found in the middle of words. */
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
