import type { Connector } from '../connecting/connector.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import { handlesOf } from '../connections/handles.ts'
import type { Slot } from '../connections/slot.ts'
import { askHook } from '../runtime/sync-hooks.ts'
import { Alarm } from '../runtime/time/alarm.ts'
import { closeSocket, isHalfClosed, isOwnDoing } from '../sockets/socket-state.ts'

/** The shortest time from the start of one round to the next. Milliseconds. */
const ROUND_MILLIS = 1000
/** The work of one batch, and the pause after it: together at most 1% of the event loop's time. Milliseconds. */
const BATCH_MILLIS = 0.4
const PAUSE_MILLIS = 40
/** How many sockets are checked between two readings of the clock. One check asks the kernel and takes 3 µs. */
const STEP = 16

/**
 * Checks all sockets of a pool again and again, in small batches, and ends the connections whose peer is gone. So no
 * socket stays in CLOSE_WAIT for longer than one round, even if nobody acquires a connection. A round takes a second,
 * or longer with more than 2500 sockets. Does not keep the process alive, and stops while there is no socket.
 */
export class SocketReaper<T> {
  /** Ends a lent connection on which the server has stopped responding. */
  onStuck: (slot: Slot<T>, detail: string) => void = () => {}
  readonly #context: PoolContext<T>
  readonly #connector: Connector<T>
  readonly #alarm: Alarm
  #round: Iterator<Slot<T>> | undefined
  #nextAt = 0
  #hasStopped = false

  constructor(context: PoolContext<T>, connector: Connector<T>) {
    this.#context = context
    this.#connector = connector
    this.#alarm = new Alarm(context.clock, () => this.#scan(), context.stalls)
  }

  /**
   * Called after every change: if there are sockets, starts a round within a second. Not with fake timers, because real
   * sockets do not follow them.
   */
  start(): void {
    const { clock, liveness } = this.#context
    if (liveness.watched === 0 || this.#alarm.isSet || this.#hasStopped || clock.isFake?.()) return
    this.#alarm.set(clock.now() + ROUND_MILLIS)
  }

  /** Called when the pool is closed. */
  stop(): void {
    this.#hasStopped = true
    this.#alarm.clear()
    this.#round = undefined
  }

  /** Starts a round at once, because a connection was found dead. */
  runNow(): void {
    // During a round, that round continues and the next one starts right after it.
    this.#nextAt = Number.NEGATIVE_INFINITY
    this.#alarm.set(this.#context.clock.now() + 1)
  }

  #scan(): void {
    const { clock, slots, liveness } = this.#context
    const start = clock.now()
    if (this.#round === undefined) {
      this.#round = slots.all.values()
      this.#nextAt = start + ROUND_MILLIS
      this.#context.serverIdleTimeout.conclude(start)
    }
    const round = this.#round
    for (let count = 1; ; count += 1) {
      const { value: slot, done } = round.next()
      if (done) {
        this.#round = undefined
        if (liveness.watched > 0 && !clock.isFake?.())
          this.#alarm.set(Math.max(this.#nextAt, start + PAUSE_MILLIS))
        return
      }
      const hasEnded = slot.watch !== undefined && this.#check(slot, start)
      if ((hasEnded || count % STEP === 0) && clock.now() - start > BATCH_MILLIS) {
        this.#alarm.set(start + PAUSE_MILLIS)
        return
      }
    }
  }

  /** @returns whether the connection was ended */
  #check(slot: Slot<T>, now: number): boolean {
    if (slot.state === 'idle') {
      const fault = this.#context.liveness.inspect(slot, now)
      if (fault === undefined) return false
      this.#connector.discard(slot, fault.reason, fault.detail, fault.left)
      return true
    }
    if (slot.state === 'lent') {
      const quiet = slot.quietMillis(now) ?? 0
      this.#closeAfterGrace(slot, now)
      return this.#endIfStuck(slot, now, quiet)
    }
    return false
  }

  /**
   * Ends a lent connection if the server has not responded on it for too long.
   * @returns whether it was ended
   */
  #endIfStuck(slot: Slot<T>, now: number, quiet: number): boolean {
    const { factory, options, stalls } = this.#context
    if (options.stuckMillis === 0 || quiet - stalls.since(now - quiet) < options.stuckMillis) return false
    if (handlesOf<T>(factory)?.isSlow?.(slot.resource as T)) return false
    let work: unknown
    try {
      work = askHook('busy', () => factory.busy?.(slot.resource as T))
    } catch {
      // `busy` threw, so it is unknown whether there is work.
    }
    if ((work !== true && typeof work !== 'string') || work === '' || slot.state !== 'lent') return false
    const what = typeof work === 'string' ? work : 'a command'
    this.onStuck(slot, `${what} was in progress, and no data has arrived for ${Math.round(quiet)} ms`)
    return true
  }

  /**
   * Closes a half-closed socket that is lent after a grace period. The borrower may read what arrived before the FIN,
   * but must not hold the socket for ever: its unsent data may never be accepted, and then neither `end()` nor the peer
   * closes it.
   */
  #closeAfterGrace(slot: Slot<T>, now: number): void {
    const { liveness, options } = this.#context
    const { socket } = slot.watch as NonNullable<typeof slot.watch>
    if (!isHalfClosed(socket)) return
    if (slot.endedAt === 0) slot.endedAt = now
    if (now - slot.endedAt < options.halfCloseGraceMillis) return
    closeSocket(socket)
    slot.fault ??= { reason: 'half-closed', detail: 'the server closed its side while it was lent' }
    if (isOwnDoing(slot.fault.detail)) return
    liveness.counts.found.lent += 1
    liveness.announceHalfClose(
      slot,
      'lent',
      'reset, as it was kept open after the server closed its side',
      now,
    )
  }
}
