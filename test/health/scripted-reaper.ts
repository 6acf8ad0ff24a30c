/* A reaper of sockets beside doubles, for tests of its rounds. */

import type { Socket } from 'node:net'
import type { Connector } from '../../src/connecting/connector.ts'
import type { PoolContext } from '../../src/connecting/pool-context.ts'
import { HANDLES } from '../../src/connections/handles.ts'
import type { Fault, Slot } from '../../src/connections/slot.ts'
import { Slots } from '../../src/connections/slots.ts'
import { SocketReaper } from '../../src/health/socket-reaper.ts'
import { FakeClock } from '../support/clock.ts'

export const ROUND = 1000
export const PAUSE = 40
export const GRACE = 500
export const STUCK = 3000

interface Peer {
  readableEnded: boolean
  destroyed: boolean
  bytesRead: number
  bytesWritten: number
}

/** A reaper whose sockets are plain objects, and whose checks cost as much time as the test says. */
export function reaperOf() {
  const clock = new FakeClock()
  const slots = new Slots<object>()
  const work: { busy: unknown; isSlow: boolean; stalled: number; costs: number; isFake: boolean } = {
    ...{ busy: false, isSlow: false, stalled: 0, costs: 0, isFake: false },
  }
  let spent = 0
  const timed = Object.assign(Object.create(clock), {
    now: () => clock.now() + spent,
    after: (millis: number, run: () => void) => clock.after(millis, run),
    isFake: () => work.isFake,
  })
  const seen = {
    concluded: [] as number[],
    checked: [] as number[],
    stuck: [] as string[],
    announced: [] as string[],
    since: [] as number[],
  }
  const dead = new Map<Slot<object>, Fault>()
  const liveness = {
    watched: 0,
    counts: { found: { lent: 0 } },
    inspect(slot: Slot<object>) {
      seen.checked.push(slot.id)
      spent += work.costs
      return dead.get(slot)
    },
    announceHalfClose: (_: unknown, state: string, detail: string) =>
      seen.announced.push(`${state}: ${detail}`),
  }
  const factory = {
    busy() {
      if (work.busy instanceof Error) throw work.busy
      return work.busy
    },
    [HANDLES]: { isSlow: () => work.isSlow },
  }
  const context = {
    ...{ clock: timed, slots, liveness, factory },
    options: { halfCloseGraceMillis: GRACE, stuckMillis: STUCK },
    stalls: {
      late: () => false,
      since(start: number) {
        seen.since.push(start)
        return work.stalled
      },
    },
    serverIdleTimeout: { conclude: (now: number) => seen.concluded.push(now - 1000) },
  }
  const discarded: [id: number, reason: string][] = []
  const connector = {
    discard(slot: Slot<object>, reason: 'broken') {
      discarded.push([slot.id, reason])
      slots.move(slot, 'closing')
    },
  } as unknown as Connector<object>
  const reaper = new SocketReaper(context as unknown as PoolContext<object>, connector)
  reaper.onStuck = (slot, detail) => {
    seen.stuck.push(detail)
    slots.move(slot, 'closing')
  }
  const add = (state: 'idle' | 'lent' = 'idle'): Slot<object> & { peer: Peer } => {
    const slot = slots.add(0, 0)
    const peer = { readableEnded: false, destroyed: false, bytesRead: 0, bytesWritten: 0 }
    const socket = {
      ...peer,
      destroy() {
        socket.destroyed = true
      },
      resetAndDestroy() {
        socket.destroyed = true
      },
    }
    slots.register(slot, socket)
    slots.move(slot, 'idle')
    if (state === 'lent') slots.move(slot, 'lent')
    slot.lentAt = clock.now()
    slot.socket = socket as unknown as Socket
    slot.watch = { socket } as unknown as NonNullable<typeof slot.watch>
    liveness.watched += 1
    return Object.assign(slot, { peer: socket })
  }
  const fault: Fault = { reason: 'half-closed', detail: 'gone' }
  return { clock, slots, work, seen, dead, liveness, reaper, discarded, add, fault, factory, context }
}
