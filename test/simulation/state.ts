/*
 * The state of a small world as text: equal texts have equal futures. Times count from now, so two orders meet in one state
 * also if time has passed in one of them only. What can no longer matter is left out: of a connection that is lent, for
 * example, how long it was idle before. `explorer.ts` checks that nothing is left out that matters: see `audit`.
 */

import type { Slot } from '../../src/connections/slot.ts'
import { partsOf } from '../../src/pool/pool.ts'
import { GATE_MILLIS } from '../../src/sockets/poll-phase.ts'
import type { Call, Connection } from '../model/scripted-server.ts'
import { ANSWERS } from './small-server.ts'
import type { SmallWorld, Task } from './small-world.ts'

/** Connections that fail within this time are one wave (`connections/suspicion.ts`), and then one is as old as any other. */
const WAVE_MILLIS = 1000

export function stateOf(world: SmallWorld): string {
  const { context, connector, lifecycle } = partsOf(world.pool)
  const { slots, queue, options, liveness, stalls, totals } = context
  const { breaker, capacity } = connector
  const { closedAt } = liveness.suspicion
  const now = world.clock.now()
  const order = [...slots.all]
  const place = (slot: Slot<Connection>): number => order.indexOf(slot)
  const resources = order.map(({ resource }) => resource)
  const connections = world.server.connections.filter(({ closed }) => !closed)
  const connectionAt = (connection: unknown): number => connections.indexOf(connection as never)
  const callOf = (call: Call<never> | undefined): number =>
    call?.connection === undefined
      ? world.server.creates.indexOf(call as never)
      : resources.indexOf(call.connection)
  // Zero and infinity stand for never.
  const ago = (time = 0): number => (time !== 0 && Number.isFinite(time) ? now - time : -1)
  const upTo = (age: number, most: number): number => Math.min(age, most)

  const slotOf = (slot: Slot<Connection>): unknown[] => {
    const { state, startedAt, createdAt, idleSince, lookedAt, provenAt } = slot
    if (state === 'closing') return [state, slot.loan > 0, ago(startedAt)]
    const isCurrent = slot.generation === connector.generation
    const wave = Math.sign(startedAt - world.hidden.pausedSince)
    const common = [state, isCurrent, ago(startedAt), ago(createdAt), wave, slot.fault?.reason]
    if (state === 'connecting') return common
    const trust = [Math.max(lookedAt, provenAt) < closedAt, upTo(ago(lookedAt), GATE_MILLIS)]
    const known = [...common, connectionAt(slot.resource), Math.min(slot.loan, 2), slot.isDoubtful, ...trust]
    if (state === 'lent' || state === 'resetting') return [...known, ago(slot.lentAt), slot.wasEndedByPool]
    return [...known, ago(idleSince), idleSince < closedAt, ago(provenAt)]
  }

  const taskOf = ({ state, connection, abort, deadline }: Task): unknown => {
    if (state === 'waiting') return [abort.signal.aborted, ago(deadline)]
    return state === 'holding' ? connectionAt(connection) : state
  }

  return JSON.stringify([
    world.clock.plans,
    order.map(slotOf),
    slots.idleSlots().map(place),
    world.server.unread,
    connections.map(({ socket }) => [socket.destroyed, (socket as { hasFin?: boolean }).hasFin]),
    queue.waiters().map(({ call, since, breakerOpening }) => [call, ago(since), breakerOpening]),
    world.tasks.map(taskOf),
    ANSWERS.map(kind => world.server.held(kind).map(call => callOf(call))),
    [...capacity.connects].map(place),
    [...capacity.checks].map(place),
    [Math.max(capacity.pauseUntil - now, 0), capacity.awaitsEventLoop],
    [totals.created > 0, closedAt >= capacity.connectedAt, upTo(ago(closedAt), WAVE_MILLIS)],
    connector.isPausing,
    [breaker.failures, breaker.isOpen, ago(breaker.retryAt), breaker.unproven, breaker.openings],
    [lifecycle.state, options.max, options.min, connector.keepsMin],
    world.memory(ago),
    world.hidden.state(world, ago, callOf, place),
    [stalls.recent.length, ago(stalls.last?.until)],
  ])
}
