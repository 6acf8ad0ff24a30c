import { messageOf } from '../errors.ts'

/*
 * Reads user input once. Any kind of input is accepted here, and what is wrong with it is described in words.
 */

/** A user name and password in a URL. */
const CREDENTIALS = /\/\/[^/@\s]*@/g

/** Formats a value for a message, briefly and without secrets. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.replace(CREDENTIALS, '//***@'))
  if (typeof value === 'function') return 'a function'
  if (typeof value !== 'object' || value === null) return String(value)
  const tag = tagOf(value)
  if (tag === UNREADABLE) return 'an object that cannot be read'
  if (tag === 'Array') return 'an array'
  if (isRecord(value)) return 'an object'
  return tag === 'Object' ? 'an object with a then' : `an object of the kind ${tag}`
}

const UNREADABLE = 'unreadable'

/** The kind of object that the value claims to be: `Map`, `URL`, … */
function tagOf(value: object): string {
  try {
    return Object.prototype.toString.call(value).slice(8, -1)
  } catch {
    return UNREADABLE
  }
}

/** Is the value an object of options: a literal, or an instance of a user's class, but no Map, Date, URL and so on? */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const tag = tagOf(value)
  try {
    return (tag === 'Object' || tag === 'Module') && !('then' in value)
  } catch {
    return false
  }
}

/**
 * Reads the options in a record, its own and those that it inherits. A value of `undefined` counts as left out.
 *
 * @param known - which inherited names count; all if left out
 * @param issues - receives a message for each field that cannot be read
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

/** Reads one field, which may be a getter. */
export function readField(given: object, name: string, issues: string[]): unknown {
  try {
    return (given as Record<string, unknown>)[name]
  } catch (error) {
    issues.push(`${name} cannot be read: ${messageOf(error)}`)
    return undefined
  }
}

function namesIn(given: object, known: ReadonlySet<string> | undefined): Set<string> {
  const names = new Set(Object.keys(given))
  if (known !== undefined) {
    for (const name of known) if (name in given) names.add(name)
    return names
  }
  let type = Object.getPrototypeOf(given)
  let above = type && Object.getPrototypeOf(type)
  // The last prototype is `Object.prototype`, of any realm.
  for (; above; above = Object.getPrototypeOf(type)) {
    // The getters of a class are not enumerable.
    for (const [name, { get, enumerable }] of Object.entries(Object.getOwnPropertyDescriptors(type)))
      if (name !== 'constructor' && (enumerable || get !== undefined)) names.add(name)
    type = above
  }
  return names
}
