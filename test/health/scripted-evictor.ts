/* An evictor beside connections that are only records, for tests of its rounds. */

import type { ResolvedOptions } from '../../src/api/options/resolve-options.ts'
import type { DestroyReason } from '../../src/api/stats.ts'
import type { Connector } from '../../src/connecting/connector.ts'
import type { PoolContext } from '../../src/connecting/pool-context.ts'
import type { Slot } from '../../src/connections/slot.ts'
import { Slots } from '../../src/connections/slots.ts'
import { Evictor } from '../../src/health/evictor.ts'
import type { Validator } from '../../src/health/validator.ts'
import { FakeClock } from '../support/clock.ts'

const NEVER = Number.POSITIVE_INFINITY

/** An evictor beside connections that are only records, and times of the test. */
export function evictorOf(given: Partial<ResolvedOptions> = {}) {
  const clock = new FakeClock()
  const start = clock.now()
  const slots = new Slots<object>()
  const options = {
    ...{
      min: 0,
      idleTimeoutMillis: NEVER,
      softIdleTimeoutMillis: -1,
      evictionRunIntervalMillis: 0,
      fifo: true,
    },
    ...{ numTestsPerEvictionRun: 3, maxLifetimeMillis: NEVER, keepWarm: false },
    ...{ serverIdleTimeoutMillis: 'auto', halfClose: 'on' },
    ...given,
  }
  const limit = {
    ...{ retireAfter: NEVER, period: NEVER, doubted: false, survivals: [] as number[] },
    isDoubted: () => limit.doubted,
    survived: (millis: number) => limit.survivals.push(millis),
  }
  const work = { cost: 0, spent: 0, readings: 0 }
  const timed = Object.assign(Object.create(clock), {
    now() {
      work.readings += 1
      return clock.now() + work.spent
    },
    after: (millis: number, run: () => void) => clock.after(millis, run),
  })
  const factory: { serverIdleTimeout?: () => number; expiresAt?: () => number } = {}
  const ends: [at: number, id: number, reason: DestroyReason][] = []
  const generation = { generation: 0 }
  const connector = Object.assign(generation, {
    discard(slot: Slot<object>, reason: DestroyReason) {
      ends.push([clock.now() - start, slot.id, reason])
      work.spent += work.cost
      slots.move(slot, 'closing')
      slots.move(slot, 'closed')
    },
  })
  const validated: number[] = []
  const asked: number[] = []
  const validator = {
    validateSoon: (all: readonly Slot<object>[]) => {
      for (const slot of all) {
        validated.push(slot.id)
        slot.traffic.quietSince = clock.now()
      }
    },
    askIdleTimeout: (slot: Slot<object>) => void asked.push(slot.id),
  }
  const context = {
    clock: timed,
    options,
    slots,
    serverIdleTimeout: limit,
    factory,
    stalls: { late: () => false },
  }
  const evictor = new Evictor(
    context as unknown as PoolContext<object>,
    connector as unknown as Connector<object>,
    validator as unknown as Validator<object>,
  )
  slots.onFirstIdle = () => evictor.wake()
  const add = (state: 'idle' | 'lent' = 'idle'): Slot<object> => {
    const slot = slots.add(0, 0)
    slots.register(slot, {})
    slot.idleSince = clock.now()
    slot.traffic.quietSince = clock.now()
    slots.move(slot, 'idle')
    if (state === 'lent') slots.move(slot, 'lent')
    return slot
  }
  const at = () => clock.now() - start
  return { clock, slots, options, limit, work, factory, ends, connector, validated, asked, evictor, add, at }
}
