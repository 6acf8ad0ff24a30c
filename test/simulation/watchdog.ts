/* What must be true after every single callback of a simulated service, not only between the steps of its program. */

import assert from 'node:assert/strict'
import type { Slot } from '../../src/connections/slot.ts'
import { type Pool, partsOf } from '../../src/pool/pool.ts'
import type { Clock } from '../../src/runtime/time/clock.ts'
import type { VirtualLoop } from '../../src/testing/virtual-loop.ts'
import { assertInvariants } from '../model/invariants.ts'
import type { World } from '../model/scripted-server.ts'

/** The first pause of the backoff, plus what chance may add. */
const FIRST_PAUSE_MILLIS = 60

export class Watchdog {
  /** The first thing that was wrong. */
  surprise: unknown
  readonly #pool: Pool<never>
  readonly #clock: Clock
  #mostHeld: number
  #outageSince = 0
  #suspectedAt = Number.NEGATIVE_INFINITY
  #suspectedIn = 0

  constructor(pool: Pool<never>, clock: Clock) {
    this.#pool = pool
    this.#clock = clock
    this.#mostHeld = pool.max
    const loop = clock as VirtualLoop
    loop.afterStep = () => {
      try {
        this.#check()
      } catch (error) {
        this.surprise ??= error
      }
    }
  }

  /** Before a resize: connections above the new `max` stay until they are returned. */
  mayShrink(): void {
    const { permitsInUse } = partsOf(this.#pool).context.slots
    this.#mostHeld = Math.max(this.#mostHeld, this.#pool.max, permitsInUse)
  }

  #check(): void {
    const { slots } = partsOf(this.#pool).context
    const { idle, validating, lent, resetting } = slots.counts
    const world = { opened: idle + validating + lent + resetting, closed: 0 } as World
    this.#mostHeld = Math.max(this.#mostHeld, this.#pool.max)
    // Deadlines are checked between the steps: a timer that is late has not fired yet.
    assertInvariants(this.#pool as never, world, this.#mostHeld, Number.NEGATIVE_INFINITY)
    this.#mostHeld = Math.max(this.#pool.max, slots.permitsInUse)
    this.#checkPause()
    const { closedAt } = partsOf(this.#pool).context.liveness.suspicion
    if (closedAt === this.#suspectedAt) return
    this.#suspectedAt = closedAt
    this.#suspectedIn = this.#turn
  }

  get #turn(): number {
    return this.#clock.loop?.metrics()?.loopCount ?? 0
  }

  /** A connection that was suspect has been found alive since then, or the loop has polled since then. */
  lent({ idleSince, lookedAt, provenAt, loan }: Slot<unknown>, since: number): void {
    const isSuspect = loan > 1 && Math.max(idleSince, lookedAt, provenAt) < this.#suspectedAt
    // Virtual time stands still within a turn: what came first at the same time cannot be told.
    const isLater = this.#turn > this.#suspectedIn || since >= this.#suspectedAt
    assert.ok(!isSuspect || isLater, 'a suspect connection was lent without a later barrier')
  }

  /** A backoff that doubles pauses for about as long as the outage has lasted, however many creates fail together. */
  #checkPause(): void {
    const { failures, retryAt } = partsOf(this.#pool).connector.breaker
    const now = this.#clock.now()
    if (failures === 0) this.#outageSince = now
    const most = FIRST_PAUSE_MILLIS + 2 * (now - this.#outageSince)
    assert.ok(
      retryAt - now <= most,
      `a pause of ${retryAt - now} ms, ${now - this.#outageSince} ms after the first failure`,
    )
  }
}
