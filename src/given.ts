import { messageOf } from './errors.ts'

/* What users give, read once: whatever it is, what is wrong with it can be said in words. */

/** Name and password in a URL. */
const CREDENTIALS = /\/\/[^/@\s]*@/g

/** A value for a message, short and without secrets. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.replace(CREDENTIALS, '//***@'))
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return String(value)
}

/** Is that an object with options: a literal, or an instance of the user's own class, and not a Map, a Date, a URL, …? */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  try {
    return Object.prototype.toString.call(value) === '[object Object]' && !('then' in value)
  } catch {
    return false
  }
}

/**
 * The options in a record, its own and those that it inherits. What is `undefined` counts as left out.
 *
 * @param known - which getters of its class are options; left out: all
 * @param issues - is given what cannot be read
 */
export function readRecord(
  given: object,
  known: ReadonlySet<string> | undefined,
  issues: string[],
): Record<string, unknown> {
  let names = new Set<string>()
  try {
    names = namesIn(given, known)
  } catch (error) {
    issues.push(`the options cannot be read: ${messageOf(error)}`)
  }
  const read = [...names].map(name => [name, readField(given, name, issues)])
  return Object.fromEntries(read.filter(([, value]) => value !== undefined))
}

/** One field, which may be a getter. */
export function readField(given: object, name: string, issues: string[]): unknown {
  try {
    return (given as Record<string, unknown>)[name]
  } catch (error) {
    issues.push(`${name} cannot be read: ${messageOf(error)}`)
    return undefined
  }
}

function namesIn(given: object, known: ReadonlySet<string> | undefined): Set<string> {
  const names = new Set<string>()
  for (const name in given) names.add(name)
  // The getters of a class are not enumerable.
  let type = Object.getPrototypeOf(given)
  for (; type !== null && type !== Object.prototype; type = Object.getPrototypeOf(type)) {
    for (const [name, { get }] of Object.entries(Object.getOwnPropertyDescriptors(type)))
      if (get !== undefined && known?.has(name) !== false) names.add(name)
  }
  return names
}
