import { systemClock } from './clock.ts'
import type { PoolError } from './errors.ts'
import { badOptions, nameIn, type ResolvedOptions, resolveOptions } from './options.ts'
import { Pool, type Surroundings } from './pool.ts'
import type { Factory, PoolOptions } from './types.ts'

/**
 * Makes a pool. A drop-in for generic-pool's function of this name.
 *
 * @throws PoolError `POOL_BAD_OPTIONS` that lists everything wrong. Odd values that generic-pool's own test suite passes
 *   are taken as it takes them, with a process warning, as long as only its own options are used.
 */
export function createPool<T>(factory: Factory<T>, options?: PoolOptions): Pool<T> {
  return openPool(factory, options, true)
}

/** @internal For adapters, which are nobody's drop-in: every odd value is refused. */
export function createStrictPool<T>(factory: Factory<T>, options: PoolOptions | undefined): Pool<T> {
  return openPool(factory, options, false)
}

/** @internal For tests, which put time and chance in its place. */
export function openPool<T>(
  factory: Factory<T>,
  options: PoolOptions | undefined,
  dropIn: boolean,
  surroundings: Surroundings = { clock: systemClock, random: Math.random },
): Pool<T> {
  const issues = factoryIssues(factory, options)
  let resolved: ResolvedOptions | undefined
  try {
    resolved = resolveOptions(options, dropIn)
  } catch (error) {
    issues.push(...((error as PoolError).issues ?? []))
  }
  if (resolved === undefined || issues.length > 0) throw badOptions(issues, nameIn(options))
  return new Pool(factory, resolved, surroundings)
}

/** What is wrong with a factory, and with options that it cannot serve. */
function factoryIssues(factory: unknown, options: PoolOptions | undefined): string[] {
  if (typeof factory !== 'object' || factory === null) {
    return ['the factory must be an object with create and destroy']
  }
  const hooks = factory as Record<string, unknown>
  const issues: string[] = []
  for (const hook of ['create', 'destroy']) {
    if (typeof hooks[hook] !== 'function') issues.push(`factory.${hook} must be a function`)
  }
  for (const hook of [
    'prepare',
    'validate',
    'reset',
    'socket',
    'busy',
    'lastUsed',
    'unsolicited',
    'serverIdleTimeout',
  ]) {
    if (hooks[hook] !== undefined && typeof hooks[hook] !== 'function') {
      issues.push(`factory.${hook} must be a function, or left out`)
    }
  }
  if (hooks.validate === undefined) {
    for (const option of ['testOnBorrow', 'testOnReturn', 'validateAfterIdleMillis', 'keepWarm'] as const) {
      // An idle age of 0 asks for it at once, and is not off.
      const value = options?.[option] ?? false
      if (value !== false) issues.push(`${option} needs a factory.validate`)
    }
  }
  return issues
}
