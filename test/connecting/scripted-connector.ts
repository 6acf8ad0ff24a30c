/* A connector beside doubles of the other parts of a pool: each create and close is answered by the test. */

import { Connector } from '../../src/connecting/connector.ts'
import type { PoolContext } from '../../src/connecting/pool-context.ts'
import type { Fault, Slot } from '../../src/connections/slot.ts'
import { Slots } from '../../src/connections/slots.ts'
import { createPool } from '../../src/index.ts'
import { newHookDeadlines } from '../../src/runtime/time/attempt.ts'
import { StallMonitor } from '../../src/runtime/time/stall-monitor.ts'
import { Stalls } from '../../src/runtime/time/stalls.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { Hook } from '../support/factories.ts'

const NEVER = Number.POSITIVE_INFINITY
const double = createPool({ create: () => ({}), destroy: () => {} }, { autostart: false })

export interface Made {
  readonly id: number
}

export function connectorOf(given: object = {}) {
  const clock = new FakeClock()
  const stalls = new Stalls(new StallMonitor(clock))
  stalls.start()
  const slots = new Slots<Made>()
  let made = 0
  const create = new Hook<undefined, Made>((_, value) => value ?? { id: ++made }).always('held')
  const destroy = new Hook<Made, void>(() => {}).always('held')
  const seen: string[] = []
  const queue = {
    ...{ waiting: 0, since: NEVER },
    oldest: () => (queue.since === NEVER ? undefined : { since: queue.since }),
    rejectSince: (opening: number) => void seen.push(`reject since ${opening}`),
    rejectUnhealthy: () => void seen.push('reject all'),
  }
  const barriers: (() => void)[] = []
  const liveness = {
    ...{ suspicion: { closedAt: Number.NEGATIVE_INFINITY }, wrong: undefined as Fault | undefined },
    onFault: (_: Fault): void => {},
    watch(_: unknown, onFault: (fault: Fault) => void) {
      liveness.onFault = onFault
      return liveness.wrong
    },
    unwatch: (slot: Slot<Made>) => void seen.push(`unwatch ${slot.id}`),
    lost: (slot: Slot<Made>, { reason }: Fault, from: string) =>
      void seen.push(`lost ${slot.id} ${reason} ${from}`),
    barrier: (_: unknown, run: () => void) => void barriers.push(run),
  }
  const totals = { created: 0, destroyed: 0, createErrors: 0, destroyErrors: 0 }
  const counted = (name: string) => ({ count: (what: string) => void seen.push(`${name} ${what}`) })
  const events: [name: string, details: Record<string, unknown>][] = []
  const factory: Record<string, unknown> = {
    create: (signal: AbortSignal) => create.run(undefined, signal),
    destroy: (resource: Made) => destroy.run(resource),
  }
  const context = {
    ...{ clock, stalls, slots, queue, liveness, totals, factory, stats: () => double.stats() },
    hookDeadlines: newHookDeadlines(clock, stalls),
    random: () => 0,
    options: {
      ...{ name: 'connector', max: 4, min: 0, maxConnecting: 4, acquireTimeoutMillis: 5000 },
      ...{ createTimeoutMillis: 3000, destroyTimeoutMillis: 1000, unhealthyAfterMillis: 1000 },
      ...{ maxLifetimeMillis: NEVER, lifetimeJitter: 0, validateTimeoutMillis: 0, resetTimeoutMillis: 0 },
      ...given,
    },
    kinds: {
      destroyed: counted('destroyed'),
      dirty: counted('dirty'),
      createErrors: counted('create error'),
    },
    times: { created: (millis: number) => void seen.push(`created in ${millis}`) },
    events: { announce: (name: string, details: object) => void events.push([name, { ...details }]) },
    serverIdleTimeout: { refused: () => void seen.push('refused') },
    identity: () => ({}),
    onChange: () => void seen.push('change'),
  }
  const connector = new Connector(context as unknown as PoolContext<Made>)
  const delivered: number[] = []
  connector.onConnected = slot => {
    delivered.push(slot.id)
    slots.move(slot, slot.fault === undefined ? 'idle' : 'closing')
  }
  const heard = (): string[] => seen.splice(0)
  const names = (): string[] => events.splice(0).map(([name]) => name)
  /** Makes one connection, for somebody who waits. */
  const connect = async (): Promise<Slot<Made>> => {
    queue.waiting = 1
    connector.connectMore()
    queue.waiting = 0
    ;(await create.call()).ok()
    await settle()
    heard()
    return [...slots.all].at(-1) as Slot<Made>
  }
  return {
    ...{ clock, slots, create, destroy, queue, liveness, barriers, totals, factory, context, connector },
    ...{ delivered, events, heard, names, connect },
  }
}
