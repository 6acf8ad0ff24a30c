/* How lists and addresses are written in messages. */

/** The first few of many, so that a message stays readable. */
export function firstFew(items: readonly string[], most: number, separator = '; '): string {
  const first = items.slice(0, most).join(separator)
  return items.length > most ? `${first}${separator.trimEnd()} and ${items.length - most} more` : first
}

/** A host and a port in one, IPv6 addresses in brackets. */
export const hostPort = (host: unknown, port: unknown): string =>
  String(host).includes(':') ? `[${host}]:${port}` : `${host}:${port}`
