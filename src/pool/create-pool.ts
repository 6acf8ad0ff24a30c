import { forCaller, isPoolError } from '../api/errors.ts'
import type { Factory } from '../api/factory.ts'
import { isNews, warn } from '../api/messages/warnings.ts'
import type { PoolOptions, PromiseClass } from '../api/options/options.ts'
import { isRecord, readField, show } from '../api/options/read-input.ts'
import {
  badOptions,
  type GivenOptions,
  nameIn,
  type ResolvedOptions,
  readOptions,
  resolveOptions,
} from '../api/options/resolve-options.ts'
import { systemClock } from '../runtime/time/clock.ts'
import type { Environment } from './assemble.ts'
import { Pool } from './pool.ts'

/**
 * Creates a pool. A drop-in replacement for generic-pool's function of this name.
 *
 * @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong. Odd values that generic-pool's own test suite uses
 * are accepted with a process warning, as long as only generic-pool's options are used.
 */
export function createPool<T>(factory: Factory<T>, options?: PoolOptions): Pool<T> {
  return forCaller(createPool, () => openPool(factory, options, true))
}

/** @internal For adapters, which replace no other package's function: every odd value is refused. */
export function createStrictPool<T>(factory: Factory<T>, options: PoolOptions | undefined): Pool<T> {
  return openPool(factory, options, false)
}

const SYSTEM: Environment = { clock: systemClock, random: Math.random }
let inForce = SYSTEM

/** @internal For `lifeguard-pool/testing`: pools that are created from now on have this time and randomness. */
export function simulateEnvironment(environment: Environment | undefined): void {
  inForce = environment ?? SYSTEM
}

/** @internal For tests, which replace time and randomness. */
export function openPool<T>(
  factory: Factory<T>,
  options: PoolOptions | undefined,
  dropIn: boolean,
  environment: Environment = inForce,
): Pool<T> {
  const given = readOptions(options)
  if (
    typeof given.input.create === 'function' &&
    typeof readField(factory ?? {}, 'create', []) !== 'function'
  )
    throw badOptions(
      ['the arguments are in the wrong order: createPool(factory, options)'],
      undefined,
      undefined,
      'the arguments',
    )
  const issues = factoryIssues(factory, given.input)
  let resolved: ResolvedOptions | undefined
  try {
    resolved = resolveOptions(given, dropIn)
  } catch (error) {
    if (!isPoolError(error, 'POOL_BAD_OPTIONS')) throw error
    issues.push(...error.issues)
  }
  if (resolved === undefined || issues.length > 0) throw badOptions(issues, nameIn(given.input))
  const pool = new Pool(factory, resolved, environment)
  if (factory.socket !== undefined && resolved.halfClose === 'on') warnOfDeno()
  if (resolved.Promise) returnPromisesOf(resolved.Promise, pool)
  return pool
}

/** Deno reports a closed connection later than Node does. */
function warnOfDeno(): void {
  if (!('Deno' in globalThis) || !isNews('Deno')) return
  warn(
    'DENO',
    'Deno may tell only later that a server has closed a connection while the event loop was blocked, so that it is lent ' +
      'once more. Give the factory a validate, and the pool testOnBorrow, if that must not happen',
  )
}

/** The methods that return promises. */
const RETURNING = [
  'acquire',
  'release',
  'destroy',
  'use',
  'lease',
  'ready',
  'drain',
  'clear',
  'close',
] as const

/** Supports generic-pool's option `Promise`: callers may use methods that only their own promise class has. */
function returnPromisesOf<T>(PromiseClass: PromiseClass, pool: Pool<T>): void {
  if (PromiseClass === Promise) return
  for (const name of RETURNING) {
    const method = pool[name] as (...given: unknown[]) => Promise<unknown>
    const value = (...given: unknown[]): PromiseLike<unknown> =>
      PromiseClass.resolve(Reflect.apply(method, pool, given))
    Object.defineProperty(pool, name, { value, writable: true, configurable: true })
  }
}

/** Returns what is wrong with a factory, and with options for which it lacks a hook. */
function factoryIssues(factory: unknown, options: GivenOptions['input']): string[] {
  // A class with static hooks works as well.
  if (typeof factory === 'function' && typeof readField(factory, 'create', []) !== 'function')
    return [`the factory must be an object with create and destroy, got ${show(factory)}`]
  if ((typeof factory !== 'object' && typeof factory !== 'function') || factory === null) {
    return [`the factory must be an object with create and destroy, got ${show(factory)}`]
  }
  const issues: string[] = []
  const hook = (name: string): unknown => readField(factory, name, issues)
  for (const name of ['create', 'destroy']) {
    if (typeof hook(name) !== 'function') issues.push(`factory.${name} must be a function`)
  }
  for (const name of [
    'prepare',
    'validate',
    'reset',
    'socket',
    'busy',
    'isPermanent',
    'lastUsed',
    'unsolicited',
    'serverIdleTimeout',
    'expiresAt',
  ]) {
    const given = hook(name)
    if (given !== undefined && typeof given !== 'function') {
      issues.push(`factory.${name} must be a function, or left out`)
    }
  }
  const server = hook('server')
  if (server !== undefined && !isRecord(server))
    issues.push('factory.server must be an object { system, address, port, database }, or left out')
  if (hook('validate') === undefined) {
    for (const option of ['testOnBorrow', 'testOnReturn', 'validateAfterIdleMillis', 'keepWarm'] as const) {
      // 0 means: validate after any idle time. It does not mean "off".
      const value = options[option] ?? false
      if (value !== false) issues.push(`${option} needs a factory.validate`)
    }
  }
  return issues
}
