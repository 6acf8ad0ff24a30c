/* What is no error, but should be seen: a warning of the process, each subject once. */

const told = new Set<string>()

export const warn = (code: string, message: string): void =>
  process.emitWarning(message, { type: 'LifeguardPoolWarning', code: `LIFEGUARD_POOL_${code}` })

/** Has this subject not been warned of yet? From now on it has. */
export function isNews(subject: string): boolean {
  if (told.has(subject)) return false
  told.add(subject)
  return true
}
