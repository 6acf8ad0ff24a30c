/*
 * How lists and addresses are written in messages.
 */

/** The first items of a list and the number of the others, so that a message stays readable. */
export function firstFew(items: readonly string[], most = 3, separator = ', '): string {
  const first = items.slice(0, most).join(separator)
  return items.length > most ? `${first}${separator.trimEnd()} and ${items.length - most} more` : first
}

/** A number with its noun: `1 connection`, `2 connections`. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`

/** A host and a port as one text. IPv6 addresses are put in brackets. */
export const hostPort = (host: unknown, port: unknown): string =>
  String(host).includes(':') ? `[${host}]:${port}` : `${host}:${port}`
