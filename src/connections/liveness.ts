import type { Socket } from 'node:net'
import { messageOf } from '../api/errors.ts'
import type { Factory } from '../api/factory.ts'
import type { ResolvedOptions } from '../api/resolve-options.ts'
import type { DestroyReason, PoolStats, SlotState } from '../api/stats.ts'
import { type PoolEmitter, runHook } from '../runtime/emitter.ts'
import type { Clock } from '../runtime/time/clock.ts'
import { checkSocket, type SocketCheck } from '../sockets/conn-check.ts'
import { type PollPhase, pollPhaseOf } from '../sockets/poll-phase.ts'
import { CLOSED_HERE, closeSocket, isHealthy, isOpen, isOwnDoing, ownDoing } from '../sockets/socket-state.ts'
import { type SocketListener, SocketWatch } from '../sockets/socket-watch.ts'
import { handlesOf } from './handles.ts'
import type { ServerIdleTimeout } from './server-idle-timeout.ts'
import type { Fault, Slot } from './slot.ts'
import { Suspicion } from './suspicion.ts'

const FAULTS: Readonly<Record<Exclude<SocketCheck, 'healthy' | 'unknown'>, Fault>> = {
  fin: { reason: 'half-closed', detail: 'the server had closed its side, found by a look at the kernel' },
  reset: { reason: 'broken', detail: 'the server had reset it, found by a look at the kernel' },
  data: { reason: 'dirty', detail: 'the server had spoken while it was idle, found by a look at the kernel' },
}
const FOUND_CLOSED: Fault = { reason: 'half-closed', detail: 'its socket was found closed' }
const ENDED_HERE: Fault = { reason: 'broken', detail: CLOSED_HERE }

const UNREAD: Fault = { reason: 'dirty', detail: 'there are bytes on it that nobody has read' }

/** What is wrong with a connection whose socket is not healthy. */
export function lossOf(socket: Socket): Fault {
  if (isOpen(socket)) return UNREAD
  const detail = ownDoing(socket)
  if (detail === undefined) return FOUND_CLOSED
  return detail === CLOSED_HERE ? ENDED_HERE : { reason: 'broken', detail }
}

/** Reasons that mean that the peer has gone, unless this side was first. */
const GONE: ReadonlySet<DestroyReason> = new Set(['half-closed', 'broken'])

/** TLS 1.3 servers send session tickets behind the handshake: bytes that nobody asked for, and no fault. */
const TICKETS_MILLIS = 1000

/** Counts where the dead were found, and what finding them took. */
type HalfCloseCounts = PoolStats['halfClose']

/**
 * Keeps watch over the sockets of one pool: which of its connections can be trusted to be alive here and now.
 *
 * A pool whose factory knows no sockets, or with `halfClose: 'off'`, has slots without a watch, and none of this runs.
 */
export class Liveness<T> {
  readonly suspicion: Suspicion
  readonly counts: HalfCloseCounts
  /** Has the others looked at soon; set by whoever can. */
  onSuspicion: (kind: 'closed' | 'silent') => void = () => {}
  readonly #factory: Factory<T>
  readonly #name: string
  readonly #events: PoolEmitter<T>
  readonly #serverLimit: ServerIdleTimeout
  readonly #phase: PollPhase
  readonly #isOn: boolean
  /** Idle slots that came to rest in this turn: their sockets are made to flow at its end, unless they are lent again. */
  #awaitFlow: Slot<T>[] = []
  #watched = 0
  /** Whether there are sockets on which data may lie in front of a FIN: TLS has records of its own. */
  #mayHide = false

  constructor(
    factory: Factory<T>,
    options: ResolvedOptions,
    clock: Clock,
    events: PoolEmitter<T>,
    serverLimit: ServerIdleTimeout,
  ) {
    this.#factory = factory
    this.#name = options.name
    this.#events = events
    this.#serverLimit = serverLimit
    this.#phase = pollPhaseOf(clock)
    this.#isOn = options.halfClose === 'on' && factory.socket !== undefined
    this.suspicion = new Suspicion()
    this.counts = {
      kernel: 'off',
      looks: 0,
      barriers: 0,
      gateSkips: 0,
      suspicions: 0,
      found: { events: 0, borrow: 0, sweep: 0, lent: 0 },
    }
  }

  /** How many sockets are being watched. */
  get watched(): number {
    return this.#watched
  }

  /** A connection has been made. @returns what is wrong with it already */
  watch(slot: Slot<T>, onFault: (fault: Fault) => void): Fault | undefined {
    if (!this.#isOn) return undefined
    const resource = slot.resource as T
    try {
      const socket = runHook(() => this.#factory.socket?.(resource)) ?? undefined
      if (socket === undefined) return undefined
      if (typeof socket.on !== 'function' || typeof socket.readable !== 'boolean')
        throw new TypeError('what factory.socket gave is no socket, and no other Duplex either')
      const lentRaw = (socket as unknown) === resource
      const unsolicited = runHook(() => this.#factory.unsolicited?.(resource)) === true
      // An adapter with handles has asked all that there is to be asked before anybody may speak.
      const greets = handlesOf(this.#factory) === undefined
      const watch = new SocketWatch(socket, { lentRaw, unsolicited, greets }, this.#watcher(slot, onFault))
      slot.socket = socket
      slot.watch = watch
    } catch (error) {
      return { reason: 'broken', detail: `factory.socket or factory.unsolicited failed: ${messageOf(error)}` }
    }
    slot.traffic.start(slot.watch.socket)
    if (slot.watch.traits.unsolicited || slot.watch.isSecure) this.#mayHide = true
    this.counts.kernel = slot.watch.isLookable ? 'on' : 'unavailable'
    this.#watched += 1
    if (this.#watched === 1) this.#phase.join(this)
    return undefined
  }

  /** A connection is being closed. */
  unwatch(slot: Slot<T>): void {
    if (slot.watch === undefined) return
    slot.watch.stop()
    this.#watched -= 1
    if (this.#watched > 0) return
    this.#phase.leave(this)
    // No turn comes any more in which it would be emptied.
    this.#awaitFlow = []
  }

  /** A connection has come to rest. */
  becameIdle(slot: Slot<T>, now: number): void {
    const { watch } = slot
    if (watch === undefined) return
    this.#phase.observe(now)
    if (slot.awaitsFlow || !watch.mayFlow) return
    slot.awaitsFlow = true
    this.#awaitFlow.push(slot)
  }

  /** @internal */
  onTurn(): void {
    if (this.#awaitFlow.length === 0) return
    const rested = this.#awaitFlow
    this.#awaitFlow = []
    for (const slot of rested) {
      slot.awaitsFlow = false
      if (slot.state === 'idle' && slot.watch?.mayFlow) slot.watch.flow()
    }
  }

  /**
   * May an idle connection be lent, in this very step?
   *
   * @param settledAt - by when everything that the kernel then held is known to have been delivered
   * @returns nothing if it may, a fault if it must never be, and `'barrier'` if only the event loop can tell
   */
  check(slot: Slot<T>, now: number, settledAt: number): Fault | 'barrier' | undefined {
    const { watch } = slot
    if (watch === undefined || !watch.hasHandle) return undefined
    this.#phase.observe(now)
    const suspectedAt = this.suspicion.since(slot)
    if (suspectedAt === undefined && this.#phase.trusts(slot.lookedAt, now)) {
      this.counts.gateSkips += 1
      return undefined
    }
    const word = this.#checkSocket(slot, now)
    if (word === 'healthy') return undefined
    if (word !== 'unknown') {
      this.counts.found.borrow += 1
      return FAULTS[word]
    }
    return settledAt >= Math.max(slot.idleSince, suspectedAt ?? 0) ? undefined : 'barrier'
  }

  /** Which turn of the event loop this is, if Node tells. */
  turn(): number | undefined {
    return this.#phase.turn
  }

  /**
   * A connection is about to be closed for this reason. Its descriptor goes at once if nobody can want it; if its peer
   * has gone, that is told, learned from, and held against the others.
   */
  lost(slot: Slot<T>, { reason, detail }: Fault, from: SlotState, now: number): void {
    if (slot.watch === undefined) return
    if (reason === 'stuck') closeSocket(slot.watch.socket)
    if (reason === 'invalid' || reason === 'stuck') this.#suspect('silent', now)
    else if (GONE.has(reason)) {
      closeSocket(slot.watch.socket)
      if (isOwnDoing(detail)) return
      this.tellHalfClose(slot, from, detail, now)
      if (from === 'idle') this.#serverLimit.closed(now - slot.traffic.quietSince, now)
      this.#suspect('closed', now)
    } else if (reason === 'dirty' && from === 'idle') closeSocket(slot.watch.socket)
  }

  /** Tells, once for each connection, that its peer has gone. */
  tellHalfClose(slot: Slot<T>, state: SlotState, detail = 'the connection was closed', now = 0): void {
    if (slot.isHalfCloseTold) return
    slot.isHalfCloseTold = true
    if (this.#events.listenerCount('half-close') === 0) return
    const resource = slot.resource as T
    const idle = state === 'idle' ? { idleMillis: now - slot.idleSince } : {}
    this.#events.announce('half-close', { pool: this.#name, resource, state, detail, ...idle })
  }

  /** One of the connections has been found dead. */
  #suspect(kind: 'closed' | 'silent', now: number): void {
    if (!this.suspicion.raise(kind, now)) return
    this.counts.suspicions += 1
    this.onSuspicion(kind)
  }

  /** Everything that the kernel holds now has been delivered when the function runs. */
  barrier(run: () => void): void {
    this.counts.barriers += 1
    this.#phase.barrier(run, this.#mayHide)
  }

  /** The sweep's look at an idle connection. */
  inspect(slot: Slot<T>, now: number): Fault | undefined {
    if (slot.watch === undefined) return undefined
    const { socket, awaitsGreeting } = slot.watch
    if (!(awaitsGreeting ? isOpen(socket) : isHealthy(socket))) {
      const death = lossOf(socket)
      if (death === FOUND_CLOSED) this.counts.found.sweep += 1
      return death
    }
    const word = this.#checkSocket(slot, now)
    if (word === 'healthy' || word === 'unknown') return undefined
    this.counts.found.sweep += 1
    return FAULTS[word]
  }

  #checkSocket(slot: Slot<T>, now: number): SocketCheck {
    const watch = slot.watch as SocketWatch
    // The look would take a byte of it.
    if (watch.traits.unsolicited || watch.awaitsGreeting) return 'unknown'
    if (!watch.hasHandle || mayGetTickets(slot, now)) return 'unknown'
    const word = checkSocket(watch.socket)
    if (word === 'unknown') this.counts.kernel = 'unavailable'
    else this.counts.looks += 1
    if (word === 'healthy') slot.lookedAt = now
    return word
  }

  #watcher(slot: Slot<T>, onFault: (fault: Fault) => void): SocketListener {
    return {
      isIdle: () => slot.state === 'idle',
      isFresh: () => slot.loan === 0,
      onFault: fault => {
        if (slot.fault !== undefined || slot.state === 'closing') return
        if (!isOwnDoing(fault.detail)) this.counts.found.events += 1
        slot.fault = fault
        onFault(fault)
      },
    }
  }
}

function mayGetTickets<T>(slot: Slot<T>, now: number): boolean {
  return now - slot.createdAt < TICKETS_MILLIS && slot.watch?.isSecure === true
}
