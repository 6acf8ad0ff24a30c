import type { Slot } from '../connections/slot.ts'
import { outsideContext } from '../runtime/async-context.ts'
import { Alarm } from '../runtime/time/alarm.ts'
import type { PoolContext } from './pool-context.ts'

/** A connection to the server of a pool that is not lent, but counts against its `max`: to ask the server, for example. */
export interface ControlConnection {
  /** The pool needs its place: it is to be closed soon, and `leave` to be called then. Called again and again. */
  giveWay(): void
}

/** Asks the server over a connection of the pool. Never rejects. */
export type Question<T> = (resource: T) => Promise<void>

/** The parts of a pool that create, end and check connections. */
interface PlaceHost<T> {
  /** How many connections the pool may have beside those it has. */
  readonly freePermits: number
  /** How many more it needs: for acquires to which none is on its way, and for `min`. */
  readonly missing: number
  /** Does only its budget keep it from creating a connection, while it has others? */
  readonly isOutOfBudget: boolean
  connectMore(): void
  discard(slot: Slot<T>, reason: 'surplus', detail: string): void
  /** Asks over this idle connection, which is lent to nobody meanwhile. */
  ask(slot: Slot<T>, questions: readonly Question<T>[]): void
}

interface Asked<T> {
  readonly run: Question<T>
  /** There is no connection for it. */
  readonly none: () => void
}

interface Claim {
  readonly by: ControlConnection
  readonly settle: (isGranted: boolean) => void
}

/**
 * The place that a control connection has among the `max` of a pool.
 *
 *     a permit is free       it is taken, and given back when the pool needs it and no other is left
 *     a connection is idle   questions are asked over it; it gives its place to a command
 *     all are lent           the next one to be returned does that, though acquires wait
 *     none comes in time     the owner of the control connection decides
 *
 * Invariant: the connections of the pool and the control connection that is in this place never exceed `max`.
 */
export class ControlPlace<T> {
  readonly #context: PoolContext<T>
  readonly #host: PlaceHost<T>
  #holder: ControlConnection | undefined
  readonly #claims = new Set<Claim>()
  /** The connection that was given up for the oldest claim, and is not closed yet. */
  #leaving: Slot<T> | undefined
  readonly #questions = new Set<Asked<T>>()

  constructor(context: PoolContext<T>, host: PlaceHost<T>) {
    this.#context = context
    this.#host = host
  }

  get isTaken(): boolean {
    return this.#holder !== undefined
  }

  /** Is there a place beside the connections? The last one only if the pool does not need it. */
  get #hasRoom(): boolean {
    const { freePermits, missing } = this.#host
    return freePermits > 1 || (freePermits === 1 && missing <= 0)
  }

  /** Could a control connection have a place at once? */
  get isFree(): boolean {
    return this.#holder === undefined && this.#claims.size === 0 && this.#hasRoom
  }

  /** Could the server be asked at once? */
  get canAsk(): boolean {
    const { queue, slots } = this.#context
    return this.isFree || (queue.waiting === 0 && slots.counts.idle > 0)
  }

  /** Takes the place, if it is free. */
  take(by: ControlConnection): boolean {
    if (this.isFree) this.#holder = by
    return this.#holder === by
  }

  /** A control connection that exists already counts here from now on. */
  enter(by: ControlConnection): void {
    this.#holder ??= by
    this.changed()
  }

  /** The control connection is closed. */
  leave(by: ControlConnection): void {
    if (this.#holder !== by) return
    this.#holder = undefined
    this.#host.connectMore()
    this.changed()
  }

  /**
   * Waits for a place, for which a connection of the pool is given up if there is no other way.
   *
   * @param held - how many connections of the pool whoever waits has lent
   * @returns false if there was none in this time
   */
  claim(by: ControlConnection, withinMillis: number, held: number): Promise<boolean> {
    if (held >= this.#context.options.max) return Promise.resolve(false)
    return new Promise(resolve => {
      const settle = (isGranted: boolean): void => {
        alarm.clear()
        this.#claims.delete(claim)
        resolve(isGranted)
      }
      const alarm = this.#alarmIn(withinMillis, () => settle(false))
      const claim: Claim = { by, settle }
      this.#claims.add(claim)
      this.changed()
    })
  }

  /**
   * Asks the server over a connection of the pool, as soon as one is not lent.
   *
   * @returns undefined if there was none in this time, or a control connection can have a place now
   */
  ask<R>(
    question: (resource: T) => Promise<R>,
    withinMillis: number,
  ): Promise<{ readonly answer: R } | undefined> {
    return new Promise((resolve, reject) => {
      const run: Question<T> = resource => {
        alarm.clear()
        return question(resource).then(answer => resolve({ answer }), reject)
      }
      const none = (): void => {
        alarm.clear()
        this.#questions.delete(asked)
        resolve(undefined)
      }
      const alarm = this.#alarmIn(withinMillis, none)
      const asked = { run, none }
      this.#questions.add(asked)
      this.changed()
    })
  }

  /** Is this connection, which could be lent, needed here first? One that was never lent keeps its place: acquires wait for it. */
  wants({ loan }: Slot<T>): boolean {
    return this.#questions.size > 0 || (loan > 0 && this.#mustGiveUp)
  }

  get #mustGiveUp(): boolean {
    return this.#claims.size > 0 && this.#holder === undefined && this.#leaving === undefined
  }

  /** Uses an idle connection that is wanted. */
  use(slot: Slot<T>): void {
    if (this.#questions.size > 0) {
      const questions = [...this.#questions]
      this.#questions.clear()
      this.#host.ask(
        slot,
        questions.map(({ run }) => run),
      )
      return
    }
    this.#leaving = slot
    this.#host.discard(
      slot,
      'surplus',
      'a command for the server needs its place, for a slot that is on its way',
    )
  }

  /** Called when a connection of the pool is closed. `connectMore` and `changed` follow. */
  returned(slot: Slot<T>): void {
    if (this.#leaving === slot) this.#leaving = undefined
    else if (slot.loan === 0) return
    // After `resize` there may be none.
    if (this.#mustGiveUp && this.#host.freePermits > 0) this.#grant()
  }

  /** Called when anything has changed in the pool. */
  changed(): void {
    const { slots, queue } = this.#context
    const { freePermits, isOutOfBudget } = this.#host
    if (this.#mustGiveUp && (this.#hasRoom || (freePermits > 0 && isOutOfBudget))) this.#grant()
    // It is one too many, or the pool needs it, as no other is left.
    if (!this.#hasRoom) this.#holder?.giveWay()
    if (queue.waiting > 0) return
    const slot = slots.nextIdle(true)
    if (slot !== undefined && (this.#questions.size > 0 || this.#mustGiveUp)) this.use(slot)
    else if (this.#questions.size > 0 && this.isFree) for (const { none } of [...this.#questions]) none()
  }

  #alarmIn(millis: number, ring: () => void): Alarm {
    const { clock, stalls } = this.#context
    const alarm = new Alarm(clock, ring, stalls)
    outsideContext(() => alarm.set(clock.now() + millis))
    return alarm
  }

  #grant(): void {
    const [oldest] = this.#claims
    if (oldest === undefined) return
    this.#holder = oldest.by
    for (const { by, settle } of [...this.#claims]) if (by === oldest.by) settle(true)
  }
}
