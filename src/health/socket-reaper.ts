import type { Connector } from '../connecting/connector.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import type { Slot } from '../connections/slot.ts'
import { runHook } from '../runtime/emitter.ts'
import { Alarm } from '../runtime/time/alarm.ts'
import { closeSocket, isHalfClosed, isOwnDoing } from '../sockets/socket-state.ts'

/** Shortest time from the start of one round to the next. Milliseconds. */
const ROUND_MILLIS = 1000
/** Work of one batch, and the pause after it: together, never more than 1 % of the event loop. Milliseconds. */
const BATCH_MILLIS = 0.4
const PAUSE_MILLIS = 40
/** Sockets between two looks at the clock; a look at the kernel takes 3 µs. */
const STEP = 16

/**
 * Walks past all sockets of a pool again and again, in small batches, and ends the connections whose peer has gone:
 * none stays in CLOSE_WAIT for longer than one round, though nobody asks for a connection. A round takes a second, or
 * more than that with more than 2500 sockets. Holds no process alive, and rests while there is no socket.
 */
export class SocketReaper<T> {
  /** Ends a lent connection on which the server stands still. */
  onStuck: (slot: Slot<T>, detail: string) => void = () => {}
  readonly #context: PoolContext<T>
  readonly #connector: Connector<T>
  readonly #alarm: Alarm
  #round: Iterator<Slot<T>> | undefined
  #nextAt = 0

  constructor(context: PoolContext<T>, connector: Connector<T>) {
    this.#context = context
    this.#connector = connector
    this.#alarm = new Alarm(context.clock, () => this.#scan(), context.stalls)
  }

  get isStopped(): boolean {
    return !this.#alarm.isSet
  }

  /** There are sockets: a round within the second. Real ones: where time is a test's, there is nothing to wait for. */
  start(): void {
    if (this.#context.clock.isFake?.()) return
    this.#alarm.set(this.#context.clock.now() + ROUND_MILLIS)
  }

  stop(): void {
    this.#alarm.clear()
    this.#round = undefined
  }

  /** A round at once: one connection was found dead. */
  runNow(): void {
    // Also from within a round, which goes on: the next one starts at once.
    this.#nextAt = Number.NEGATIVE_INFINITY
    this.#alarm.set(this.#context.clock.now() + 1)
  }

  #scan(): void {
    const { clock, slots, liveness } = this.#context
    const start = clock.now()
    if (this.#round === undefined) {
      this.#round = slots.all.values()
      this.#nextAt = start + ROUND_MILLIS
      this.#context.serverLimit.conclude(start)
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

  /** @returns whether the connection had to be ended */
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

  /** @returns whether the server has stood still for too long on a lent connection, which has been ended */
  #endIfStuck(slot: Slot<T>, now: number, quiet: number): boolean {
    const { factory, options, stalls } = this.#context
    if (options.stuckMillis === 0 || quiet - stalls.since(now - quiet) < options.stuckMillis) return false
    let work: unknown
    try {
      work = runHook(() => factory.busy?.(slot.resource as T))
    } catch {
      // It cannot tell.
    }
    if ((work !== true && typeof work !== 'string') || work === '' || slot.state !== 'lent') return false
    const what = typeof work === 'string' ? work : 'a command'
    this.onStuck(slot, `${what} was under way, and no byte has come for ${Math.round(quiet)} ms`)
    return true
  }

  /**
   * A borrower may go on reading what came before the FIN, but not hold the socket for ever: what it still wants to
   * send may never be taken, and then neither `end()` nor the peer closes it.
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
    liveness.tellHalfClose(slot, 'lent', 'reset, as it was kept open after the server closed its side', now)
  }
}
