/*
 * A simulated overload on an injected clock: callers, connections, service times, and what became of each caller.
 */

import { isPoolError } from '../../src/api/errors.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeClock } from './clock.ts'

/** A service behind a pool, as a simulation on an injected clock has it. */
export interface Load {
  readonly options: PoolOptions
  readonly connections: number
  /** Mean time of one piece of work on a connection; exponentially distributed. Milliseconds. */
  readonly serviceMillis: number
  /** Offered load as a multiple of what the connections can serve; at a time in milliseconds. */
  readonly offered: (at: number) => number
  readonly millis: number
  readonly random: () => number
  /** The priority of the next request. Default 0. */
  readonly priority?: () => number
}

/** One request: when it came, and what became of it after how long. */
export interface Fate {
  readonly at: number
  readonly waited: number
  readonly how: 'served' | 'shed' | 'timeout' | 'refused'
  readonly priority: number
}

export interface Outcome {
  readonly fates: readonly Fate[]
  /** Requests that the connections could have served in the time. */
  readonly capacity: number
  readonly served: number
  /** Of those served: the wait that half, and one in a hundred, exceeded. Milliseconds. */
  readonly median: number
  readonly p99: number
}

/** Poisson arrivals, exponential service, one pool; as fast as the machine can. */
export async function simulate(load: Load): Promise<Outcome> {
  const { connections, serviceMillis, millis, random } = load
  const clock = new FakeClock()
  const start = clock.now()
  const exponential = (mean: number): number => -Math.log(1 - random()) * mean
  const factory = { create: () => ({}), destroy: () => {} }
  // No stacks of callers: they are most of the processor time of these tests, and nothing here is nested.
  const options = { max: connections, min: connections, nested: 'allow' as const, ...load.options }
  const pool = openPool(factory, options, false, { clock, random })
  const fates: Fate[] = []
  await clock.advance(1)
  const request = (): void => {
    const at = clock.now()
    const priority = load.priority?.() ?? 0
    const end = (how: Fate['how']): void => {
      fates.push({ at: at - start, waited: clock.now() - at, how, priority })
    }
    pool.acquire(priority).then(
      connection => {
        end('served')
        clock.after(exponential(serviceMillis), () => void pool.release(connection))
      },
      (error: unknown) => {
        if (isPoolError(error, 'POOL_ACQUIRE_TIMEOUT')) end('timeout')
        else end(isPoolError(error, 'POOL_SHED') && error.waitedMillis > 0 ? 'shed' : 'refused')
      },
    )
  }
  const arrive = (): void => {
    request()
    plan()
  }
  const plan = (): void => {
    const elapsed = clock.now() - start
    if (elapsed >= millis) return
    clock.after(exponential(serviceMillis / connections / load.offered(elapsed)), arrive)
  }
  plan()
  await clock.advance(millis)
  const served = fates.filter(fate => fate.how === 'served').map(fate => fate.waited)
  served.sort((a, b) => a - b)
  const at = (share: number): number => served[Math.floor(served.length * share)] ?? Number.NaN
  return {
    fates,
    capacity: (millis / serviceMillis) * connections,
    served: served.length,
    median: at(0.5),
    p99: at(0.99),
  }
}
