import { messageOf } from '../api/errors.ts'
import type { Factory } from '../api/factory.ts'
import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import type { DestroyReason, PoolStats, SlotState } from '../api/stats.ts'
import type { PoolEmitter } from '../runtime/emitter.ts'
import { askHook, isBusy } from '../runtime/sync-hooks.ts'
import type { Clock } from '../runtime/time/clock.ts'
import { checkSocket, type SocketCheck } from '../sockets/conn-check.ts'
import { GATE_MILLIS, type PollPhase, pollPhaseOf } from '../sockets/poll-phase.ts'
import { closeSocket, isHealthy, isOpen, isOwnDoing } from '../sockets/socket-state.ts'
import { type SocketListener, SocketWatch } from '../sockets/socket-watch.ts'
import { handlesOf } from './handles.ts'
import type { ServerIdleTimeout } from './server-idle-timeout.ts'
import type { Fault, Slot } from './slot.ts'
import { CHECK_FAULTS, FOUND_CLOSED, lossOf } from './socket-faults.ts'
import { Suspicion } from './suspicion.ts'

/** Reasons that mean that the peer is gone, unless this side closed the connection first. */
const GONE: ReadonlySet<DestroyReason> = new Set(['half-closed', 'broken'])

/**
 * TLS 1.3 servers send session tickets after the handshake. Nobody asked for these bytes, but they are no fault. For
 * this long, data on a TLS connection is not held against it. Milliseconds.
 */
const TICKETS_MILLIS = 1000

/** Counts where dead connections were found, and how often each kind of check ran. */
type HalfCloseCounts = PoolStats['halfClose']

/**
 * Watches the sockets of one pool, and decides which connections can be trusted to be alive at this moment.
 *
 * If the factory has no sockets, or with `halfClose: 'off'`, slots have no watch, and none of this runs.
 */
export class Liveness<T> {
  readonly suspicion: Suspicion
  readonly counts: HalfCloseCounts
  /** Is called when the other connections should be checked soon. */
  onSuspicion: (kind: 'closed' | 'silent') => void = () => {}
  readonly #factory: Factory<T>
  readonly #name: string
  readonly #clock: Clock
  readonly #events: PoolEmitter<T>
  readonly #serverIdleTimeout: ServerIdleTimeout
  readonly #phase: PollPhase
  readonly #isOn: boolean
  /**
   * Slots that became idle in this turn. At the end of the turn, their sockets start to flow, unless they are lent
   * again.
   */
  #awaitFlow: Slot<T>[] = []
  #watched = 0
  /** Whether data may lie before a FIN on some socket: the server may send unasked, or TLS sends records of its own. */
  #mayHide = false

  constructor(
    factory: Factory<T>,
    options: ResolvedOptions,
    clock: Clock,
    events: PoolEmitter<T>,
    serverIdleTimeout: ServerIdleTimeout,
  ) {
    this.#factory = factory
    this.#name = options.name
    this.#clock = clock
    this.#events = events
    this.#serverIdleTimeout = serverIdleTimeout
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

  /**
   * Called when a connection has been created.
   * @returns what is already wrong with it
   */
  watch(slot: Slot<T>, onFault: (fault: Fault) => void): Fault | undefined {
    if (!this.#isOn) return undefined
    const resource = slot.resource as T
    try {
      const socket = askHook('socket', () => this.#factory.socket?.(resource)) ?? undefined
      if (socket === undefined) return undefined
      if (typeof socket.on !== 'function' || typeof socket.readable !== 'boolean')
        throw new TypeError('factory.socket returned neither a socket nor another Duplex stream')
      const lentRaw = (socket as unknown) === resource
      const unsolicited = askHook('unsolicited', () => this.#factory.unsolicited?.(resource)) === true
      // An adapter with handles finishes its handshake first, so the server does not send a greeting after that.
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

  /** Called when a connection is being closed. */
  unwatch(slot: Slot<T>): void {
    if (slot.watch === undefined) return
    slot.watch.stop()
    this.#watched -= 1
    if (this.#watched > 0) return
    this.#phase.leave(this)
    // No further turn would empty this list.
    this.#awaitFlow = []
  }

  /** Called when a connection has become idle. */
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
   * Checks whether an idle connection may be lent right now.
   *
   * @param settledAt - all data that was in the kernel at this time is known to have been delivered
   * @returns undefined if it may be lent; a fault if it must be destroyed; `'barrier'` if only a poll phase can decide
   */
  check(slot: Slot<T>, now: number, settledAt: number): Fault | 'barrier' | undefined {
    const { watch } = slot
    if (watch === undefined || !watch.hasHandle) return undefined
    this.#phase.observe(now)
    const suspectedAt = this.suspicion.since(slot)
    if (suspectedAt === undefined) {
      // It has waited for the poll phase that ended now.
      if (settledAt >= slot.idleSince && settledAt - watch.deferredAt < GATE_MILLIS) return undefined
      const needed = this.#phase.needed(slot.lookedAt, watch.heardAt, now)
      if (needed === 'nothing') this.counts.gateSkips += 1
      if (needed === 'poll') watch.deferredAt = now
      if (needed !== 'check') return needed === 'poll' ? 'barrier' : undefined
    }
    const result = this.#checkSocket(slot, now)
    if (result === 'healthy') return undefined
    if (result !== 'unknown') {
      this.counts.found.borrow += 1
      return CHECK_FAULTS[result]
    }
    return settledAt >= Math.max(slot.idleSince, suspectedAt ?? 0) ? undefined : 'barrier'
  }

  /** See `PollPhase.marks`. */
  get marks(): number {
    return this.#phase.marks
  }

  /**
   * Called when a connection is about to be closed for this reason. If nobody can still need its socket, that is closed
   * at once. If the peer is gone, this is announced, counts for the server's idle limit, and makes other connections
   * suspect.
   */
  lost(slot: Slot<T>, { reason, detail }: Fault, from: SlotState, now: number): void {
    if (slot.watch === undefined) return
    if (reason === 'stuck') closeSocket(slot.watch.socket)
    if (reason === 'invalid' || reason === 'stuck') this.#suspect('silent', now)
    else if (GONE.has(reason)) {
      closeSocket(slot.watch.socket)
      if (isOwnDoing(detail)) return
      this.announceHalfClose(slot, from, detail, now)
      if (from === 'idle') this.#serverIdleTimeout.closed(now - slot.traffic.quietSince, now)
      this.#suspect('closed', now)
    } else if (reason === 'dirty' && from === 'idle') closeSocket(slot.watch.socket)
  }

  /** Announces that the peer of a connection is gone, once per connection. */
  announceHalfClose(slot: Slot<T>, state: SlotState, detail = 'the connection was closed', now = 0): void {
    if (slot.isHalfCloseAnnounced) return
    slot.isHalfCloseAnnounced = true
    const { id: connection, resource } = slot
    const idle = state === 'idle' ? { idleMillis: now - slot.idleSince } : {}
    this.#events.announce('half-close', {
      pool: this.#name,
      resource: resource as T,
      connection,
      state,
      detail,
      ...idle,
    })
  }

  /** Called when a connection was found dead. */
  #suspect(kind: 'closed' | 'silent', now: number): void {
    if (!this.suspicion.raise(kind, now)) return
    this.counts.suspicions += 1
    this.onSuspicion(kind)
  }

  /**
   * Runs a function once all data that is now in the kernel has been delivered.
   * @param slot - whose data is awaited: before a FIN there may be a greeting, or the answer to a check
   * @returns see `PollPhase.barrier`
   */
  barrier({ watch, state }: Slot<T>, run: () => void): number | undefined {
    this.counts.barriers += 1
    return this.#phase.barrier(run, this.#mayHide || watch?.awaitsGreeting === true || state === 'validating')
  }

  /** Checks an idle connection, for the sweep. */
  inspect(slot: Slot<T>, now: number): Fault | undefined {
    if (slot.watch === undefined) return undefined
    const { socket, awaitsGreeting } = slot.watch
    if (!(awaitsGreeting ? isOpen(socket) : isHealthy(socket))) {
      const death = lossOf(socket)
      if (death === FOUND_CLOSED) this.counts.found.sweep += 1
      return death
    }
    const result = this.#checkSocket(slot, now)
    if (result === 'healthy' || result === 'unknown') return undefined
    this.counts.found.sweep += 1
    return CHECK_FAULTS[result]
  }

  #checkSocket(slot: Slot<T>, now: number): SocketCheck {
    const watch = slot.watch as SocketWatch
    // The check would consume a byte of the server's data.
    if (watch.traits.unsolicited || watch.awaitsGreeting) return 'unknown'
    if (!watch.hasHandle || mayGetTickets(slot, now)) return 'unknown'
    // So it would where a command of the handshake, such as READONLY, has no answer yet.
    if (slot.loan === 0 && isBusy(this.#factory, slot.resource as T)) return 'unknown'
    const result = checkSocket(watch.socket)
    this.#phase.checked(this.#clock.now())
    if (result === 'unknown') this.counts.kernel = 'unavailable'
    else this.counts.looks += 1
    if (result === 'healthy') slot.lookedAt = now
    return result
  }

  #watcher(slot: Slot<T>, onFault: (fault: Fault) => void): SocketListener {
    return {
      isIdle: () => slot.state === 'idle',
      isFresh: () => slot.loan === 0,
      heard: () => {
        const now = this.#clock.now()
        this.#phase.observe(now)
        return now
      },
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
