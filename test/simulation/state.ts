/*
 * The state of a small world as text: equal texts have equal futures. Times count from now, so two orders meet in one state
 * also if time has passed in one of them only.
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
  const now = world.clock.now()
  // Zero and infinity stand for never.
  const ago = (time = 0): number => (time !== 0 && Number.isFinite(time) ? time - now : time)
  return JSON.stringify([
    world.clock.due.map(ago),
    world.clock.turnsPending,
    [...world.left],
    world.timersLeft,
    order.map(slot => [
      slot.state,
      connectionAt(slot.resource),
      slot.loan,
      slot.generation,
      slot.fault?.reason,
      ago(slot.startedAt),
      ago(slot.createdAt),
      ago(slot.idleSince),
      ago(slot.lentAt),
      ago(slot.lookedAt),
      ago(slot.provenAt),
      slot.isDoubtful,
      slot.wasEndedByPool,
      slot.socket?.destroyed,
    ]),
    slots.idleSlots().map(place),
    world.server.unread,
    connections.map(({ socket }) => [socket.destroyed, (socket as { hasFin?: boolean }).hasFin]),
    queue.waiters().map(({ call, since, breakerOpening }) => [call, ago(since), breakerOpening]),
    world.tasks.map(({ state, connection, abort, error }) => [
      state,
      connectionAt(connection),
      state === 'waiting' ? abort.signal.aborted : (error as { code?: string } | undefined)?.code,
    ]),
    ANSWERS.map(kind => world.server.held(kind).map(({ connection }) => connectionAt(connection))),
    [...capacity.connects].map(place),
    [...capacity.checks].map(place),
    [Math.max(capacity.pauseUntil - now, 0), capacity.awaitsEventLoop, ago(capacity.connectedAt)],
    [connector.generation, connector.isPausing],
    [breaker.failures, breaker.isOpen, ago(breaker.retryAt), breaker.unproven, breaker.openings],
    [lifecycle.state, world.hasClosed, world.isDraining, options.max, options.min, connector.keepsMin],
    [ago(liveness.suspicion.closedAt), stalls.recent.length, ago(stalls.last?.until), context.totals.created],
  ])
}
