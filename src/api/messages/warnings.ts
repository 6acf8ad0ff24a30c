/*
 * Process warnings for things that are no error but should be noticed. Each subject is reported once.
 */

const warned = new Set<string>()

export const warn = (code: string, message: string): void =>
  process.emitWarning(message, { type: 'LifeguardPoolWarning', code: `LIFEGUARD_POOL_${code}` })

/** Returns true the first time that it is called with a subject. */
export function isNews(subject: string): boolean {
  if (warned.has(subject)) return false
  warned.add(subject)
  return true
}

/** Warns once for each pool whose `factory.create` returns nothing. */
export function warnOfNothing(pool: string, resource: unknown): void {
  if (!isNews(`create of ${pool}`)) return
  warn(
    'CREATE',
    `factory.create of pool '${pool}' returned ${resource}, and that is what the pool lends. Make it return the ` +
      'connection, or a promise of it',
  )
}
