import { EVENTS } from '../events.ts'
import { nearest } from '../options/option-names.ts'
import { isNews, warn } from './warnings.ts'

/*
 * Calls that cannot be meant: something other than a connection where a method takes one, a priority that is none.
 */

/** What a value is that is certainly not a connection, and what to pass instead. */
interface NoConnection {
  readonly what: string
  /** Completes "… instead". */
  readonly instead: string
}

/**
 * Is this value something other than a connection? Says so only where it is certain: a pool may lend anything.
 *
 * @param method - the method that was given it
 */
export function noConnection(given: unknown, method: string): NoConnection | undefined {
  if (given === undefined || given === null)
    return { what: String(given), instead: 'Pass what acquire resolved to' }
  if (typeof given !== 'object') return undefined
  try {
    if (typeof (given as { then?: unknown }).then === 'function')
      return { what: 'a promise', instead: 'Await what acquire returned, and pass that' }
    if ('resource' in given && 'active' in given && 'release' in given)
      return {
        what: 'a lease',
        instead:
          method === 'release' || method === 'destroy' ? `Call lease.${method}()` : 'Pass lease.resource',
      }
  } catch {
    // A getter that throws: a client may have one.
  }
  return undefined
}

/** Warns once for each pool and method, where the method must not throw. */
export function warnOfNoConnection(pool: string, method: string, given: unknown, then: string): void {
  const found = noConnection(given, method)
  if (found === undefined || !isNews(`${method} of ${pool}`)) return
  warn('ARGUMENT', `${method} of pool '${pool}' was given ${found.what}, and ${then}. ${found.instead}`)
}

/** Warns once for each pool of a priority that generic-pool replaces silently. */
export function warnOfPriority(pool: string, given: unknown, range: number, taken: number): void {
  if (!isNews(`priority of ${pool}`)) return
  const isHigh = typeof given === 'number' && given >= range
  const numbers =
    range === 1 ? 'can only be 0' : `is a number from 0 (the first to be served) to ${range - 1}`
  const next = isHigh ? `. Set priorityRange: ${Math.trunc(given) + 1}, or pass a lower number` : ''
  const shown = typeof given === 'string' ? JSON.stringify(given.slice(0, 40)) : String(given)
  warn(
    'PRIORITY',
    `acquire of pool '${pool}' was given the priority ${shown}, taken as ${taken}: with priorityRange ` +
      `${range} a priority ${numbers}${next}`,
  )
}

/** Warns once of a listener for an event that no pool emits, if its name is close to that of one. */
export function warnOfEvent(event: unknown): void {
  if (typeof event !== 'string' || EVENTS.has(event)) return
  const meant = nearest(event, [...EVENTS])
  if (meant === undefined || !isNews(`event ${event}`)) return
  warn(
    'EVENT',
    `a listener was added for '${event}', which no pool emits. Did you mean '${meant}'? If you emit '${event}' ` +
      'yourself, ignore this',
  )
}
