import type { DestroyReason, SlotState } from '../api/stats.ts'
import type { PoolEmitter } from '../runtime/emitter.ts'
import { closeSocket, isOwnDoing } from '../sockets/socket-state.ts'
import type { Liveness } from './liveness.ts'
import type { ServerIdleTimeout } from './server-idle-timeout.ts'
import type { Fault, Slot } from './slot.ts'

/** Who is told of a lost connection, and who learns from it. */
export interface LossContext<T> {
  readonly options: { readonly name: string }
  readonly events: PoolEmitter<T>
  readonly liveness: Liveness<T>
  readonly serverLimit: ServerIdleTimeout
}

/** Reasons that mean that the peer has gone, unless this side was first. */
const GONE: ReadonlySet<DestroyReason> = new Set(['half-closed', 'broken'])

/** What else follows from the end of a connection: its descriptor goes at once if nobody can want it, and it is told,
 * learned from, and held against the others. */
export function connectionLost<T>(
  context: LossContext<T>,
  slot: Slot<T>,
  { reason, detail }: Fault,
  from: SlotState,
  now: number,
): void {
  if (slot.watch === undefined) return
  const { liveness, serverLimit } = context
  if (reason === 'stuck') closeSocket(slot.watch.socket)
  if (reason === 'invalid' || reason === 'stuck') liveness.suspect('silent', now)
  else if (GONE.has(reason)) {
    closeSocket(slot.watch.socket)
    if (isOwnDoing(detail)) return
    tellHalfClose(context, slot, from, detail, now)
    if (from === 'idle') serverLimit.closed(now - slot.activeAt, now)
    liveness.suspect('closed', now)
  } else if (reason === 'dirty' && from === 'idle') closeSocket(slot.watch.socket)
}

/** Tells, once for each connection, that its peer has gone. */
export function tellHalfClose<T>(
  { options, events }: LossContext<T>,
  slot: Slot<T>,
  state: SlotState,
  detail = 'the connection was closed',
  now = 0,
): void {
  if (slot.isHalfCloseTold) return
  slot.isHalfCloseTold = true
  if (events.listenerCount('half-close') === 0) return
  const resource = slot.resource as T
  const idle = state === 'idle' ? { idleMillis: now - slot.idleSince } : {}
  events.announce('half-close', { pool: options.name, resource, state, detail, ...idle })
}
