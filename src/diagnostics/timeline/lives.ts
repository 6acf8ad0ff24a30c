import type { SlotState } from '../../api/stats.ts'
import type { Ring } from './ring.ts'
import type { TimelineSpan, TimelineState } from './timeline.ts'

/** A connection that is idle for less is as good as handed on. Milliseconds. */
const PASSING_MILLIS = 0.5

type Open = { -readonly [K in keyof TimelineSpan]: TimelineSpan[K] }

/** What each connection is doing now. What it did before goes into a ring. */
export class Lives {
  readonly #spans: Ring<TimelineSpan>
  /** By pool and connection. */
  readonly #open = new Map<string, Open>()

  constructor(spans: Ring<TimelineSpan>) {
    this.#spans = spans
  }

  /** A connection goes to a state. */
  enter(
    pool: number,
    connection: number,
    state: TimelineState,
    at: number,
    more: Pick<TimelineSpan, 'loan' | 'site' | 'detail' | 'beforeMillis'> = {},
  ): void {
    this.#end(pool, connection, at)
    this.#open.set(keyOf(pool, connection), { pool, connection, state, from: at, to: at, ...more })
  }

  /**
   * What the channel `state` tells. Told at the end of a step, it may come after the loan that began in this step: such
   * news is old.
   */
  moved(pool: number, connection: number, from: SlotState | undefined, to: SlotState, at: number): void {
    const now = this.#open.get(keyOf(pool, connection))
    if (now !== undefined && isLent(now.state) && from !== 'lent') return
    if (to === 'closed') this.#end(pool, connection, at)
    // `detail` may be known already.
    else if (to !== now?.state) this.enter(pool, connection, to, at)
  }

  /** The end of a loan, unless the next one has begun by now. */
  released(pool: number, connection: number, loan: number, at: number): void {
    const now = this.#open.get(keyOf(pool, connection))
    if (now === undefined || !isLent(now.state) || (now.loan ?? loan) !== loan) return
    this.enter(pool, connection, 'idle', at)
  }

  /** The peer of a connection has gone. While it is lent, that stays so for a while. */
  halfClosed(pool: number, connection: number, at: number): void {
    const now = this.#open.get(keyOf(pool, connection))
    if (now?.state !== 'lent') return
    const { loan, site } = now
    this.enter(pool, connection, 'half-closed', at, {
      ...(loan === undefined ? {} : { loan }),
      ...(site === undefined ? {} : { site }),
    })
  }

  /** Why a connection is being closed. */
  explain(pool: number, connection: number, detail: string): void {
    const now = this.#open.get(keyOf(pool, connection))
    if (now !== undefined) now.detail = detail
  }

  /** All that is still so, as if it ended now. */
  still(at: number): TimelineSpan[] {
    return [...this.#open.values()].map(span => ({ ...span, to: at, isOpen: true }))
  }

  #end(pool: number, connection: number, at: number): void {
    const key = keyOf(pool, connection)
    const span = this.#open.get(key)
    if (span === undefined) return
    this.#open.delete(key)
    // States that a connection only passes through within one step.
    const least = span.state === 'idle' ? PASSING_MILLIS : 0
    if (at - span.from > least) this.#spans.add({ ...span, to: at })
  }
}

const keyOf = (pool: number, connection: number): string => `${pool}.${connection}`

const isLent = (state: TimelineState): boolean => state === 'lent' || state === 'half-closed'
