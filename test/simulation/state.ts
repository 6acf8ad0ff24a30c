/*
 * The state of a small world as text: equal texts have equal futures. Times are absolute, so two orders meet in one state
 * only if the same time has passed in both.
 */

import { partsOf } from '../../src/pool/pool.ts'
import { ANSWERS } from './small-server.ts'
import type { SmallWorld } from './small-world.ts'

export function stateOf(world: SmallWorld): string {
  const { context, connector, lifecycle } = partsOf(world.pool)
  const { slots, queue, options, liveness, stalls } = context
  const { breaker, capacity } = connector
  const order = [...slots.all]
  const place = (slot: (typeof order)[number]): number => order.indexOf(slot)
  const connections = world.server.connections.filter(({ closed }) => !closed)
  const connectionAt = (connection: unknown): number => connections.indexOf(connection as never)
  return JSON.stringify([
    world.clock.now(),
    world.clock.stalled,
    world.clock.due,
    world.clock.turnsPending,
    [...world.left],
    world.timersLeft,
    order.map(slot => [
      slot.state,
      connectionAt(slot.resource),
      slot.loan,
      slot.generation,
      slot.fault?.reason,
      slot.startedAt,
      slot.createdAt,
      slot.idleSince,
      slot.lentAt,
      slot.lookedAt,
      slot.provenAt,
      slot.isDoubtful,
      slot.wasEndedByPool,
      slot.socket?.destroyed,
    ]),
    slots.idleSlots().map(place),
    world.server.unread,
    connections.map(({ socket }) => [socket.destroyed, (socket as { hasFin?: boolean }).hasFin]),
    queue.waiters().map(({ call, since, breakerOpening }) => [call, since, breakerOpening]),
    world.tasks.map(({ state, connection, abort, error }) => [
      state,
      connectionAt(connection),
      state === 'waiting' ? abort.signal.aborted : (error as { code?: string } | undefined)?.code,
    ]),
    ANSWERS.map(kind => world.server.held(kind).map(({ connection }) => connectionAt(connection))),
    [...capacity.connects].map(place),
    [...capacity.checks].map(place),
    [capacity.awaitsEventLoop, capacity.connectedAt, connector.generation, connector.isPausing],
    [breaker.failures, breaker.isOpen, breaker.retryAt, breaker.unproven, breaker.openings],
    [lifecycle.state, world.hasClosed, world.isDraining, options.max, options.min, connector.keepsMin],
    [liveness.suspicion.closedAt, stalls.recent.length, stalls.last?.until, context.totals.created],
  ])
}
