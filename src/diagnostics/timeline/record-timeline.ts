import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { AcquireMessage, CreateMessage, PoolInstance } from '../../api/channels.ts'
import { messageOf } from '../../api/errors.ts'
import type { PoolEvents } from '../../api/events.ts'
import { show } from '../../api/options/read-input.ts'
import { badOptions } from '../../api/options/resolve-options.ts'
import type { WaitObserver } from '../../queue/traced-acquire.ts'
import { errorTypeOf } from '../../runtime/kinds.ts'
import { StackTrace } from '../../runtime/stack-trace.ts'
import { systemClock, type Timer, timestamp } from '../../runtime/time/clock.ts'
import { TokenBucket } from '../../runtime/token-bucket.ts'
import { callSite } from '../call-sites.ts'
import { livePools, type Reporting } from '../registry.ts'
import { Lives } from './lives.ts'
import { Ring } from './ring.ts'
import type { Timeline, TimelineMark, TimelineSpan } from './timeline.ts'
import { Waits } from './waits.ts'

/** What `recordTimeline` records. */
export interface TimelineOptions {
  /** The name of a pool. Default: all pools of the process. */
  readonly pool?: string | undefined
  /** How many spans, and how many waits, are kept: the latest. Default 20000. */
  readonly most?: number | undefined
}

/** A recording under way. */
export interface TimelineRecording {
  /** What has been recorded so far. */
  read(): Timeline
  /** Ends it, and gives what was recorded. */
  stop(): Timeline
  [Symbol.dispose](): void
}

const MOST = 20_000
const MOST_MARKS = 2000
/** Call sites: so many at once, and so many per millisecond after that. Each takes some 15 µs. */
const SITES_AT_ONCE = 500
const SITES_PER_MILLI = 0.2
const SITE_DEPTH = 16
/** How often the event loop is seen to turn, and how much later than that it is blocked. Milliseconds. */
const BEAT_MILLIS = 50
const STALL_MILLIS = 200

/**
 * Records what the pools of this process do, from their channels: what each connection is doing, each acquire that waits,
 * each time in which the event loop is blocked. It costs each loan some microseconds while it records, and its memory
 * is bounded: the oldest is dropped and counted.
 *
 * @example
 * const recording = recordTimeline()
 * writeFileSync('timeline.json', JSON.stringify(recording.stop())) // npx lifeguard-pool timeline timeline.json
 *
 * @throws PoolError `POOL_BAD_OPTIONS`
 */
export function recordTimeline(options: TimelineOptions = {}): TimelineRecording {
  if (typeof options !== 'object' || options === null)
    throw badOptions([`the options must be an object, got ${show(options)}`])
  const { pool, most = MOST } = options
  if (!Number.isInteger(most) || most < 1)
    throw badOptions([`most must be a whole number above 0, got ${show(most)}`])
  if (pool !== undefined && typeof pool !== 'string')
    throw badOptions([`pool must be the name of a pool, got ${show(pool)}`])
  return new Recorder(pool, most)
}

type Told<E extends keyof PoolEvents<unknown>> = PoolEvents<unknown>[E][0] & {
  readonly instance: PoolInstance
}

class Recorder implements TimelineRecording {
  readonly #only: string | undefined
  readonly #since = systemClock.now()
  readonly #startedAt = timestamp()
  readonly #pools: { name: string; max: number }[] = []
  readonly #indexes = new WeakMap<object, number>()
  readonly #spans: Ring<TimelineSpan>
  readonly #lives: Lives
  readonly #waits: Waits
  readonly #marks = new Ring<TimelineMark>(MOST_MARKS)
  readonly #stalls = new Ring<{ from: number; to: number }>(MOST_MARKS)
  readonly #sites = new TokenBucket(SITES_AT_ONCE, SITES_PER_MILLI, SITES_AT_ONCE, this.#since)
  /** When the event loop last turned. */
  #beat = 0
  #timer: Timer | undefined
  #end: number | undefined
  readonly #subscriptions: readonly (readonly [string, (message: unknown) => void])[]

  constructor(only: string | undefined, most: number) {
    this.#only = only
    this.#spans = new Ring(most)
    this.#lives = new Lives(this.#spans)
    this.#waits = new Waits(most)
    this.#lookAround()
    this.#subscriptions = this.#handlers()
    for (const [channel, handler] of this.#subscriptions) subscribe(channel, handler)
    this.#planBeat()
  }

  read(): Timeline {
    const millis = this.#end ?? this.#now()
    const { lastDropped: span } = this.#spans
    const { lastDropped: wait } = this.#waits
    return {
      version: 1,
      startedAt: this.#startedAt,
      millis,
      pools: this.#pools,
      spans: [...this.#spans.all(), ...this.#lives.still(millis)],
      waits: this.#waits.all(millis),
      stalls: this.#stalls.all(),
      marks: this.#marks.all(),
      dropped: {
        spans: this.#spans.dropped,
        waits: this.#waits.dropped,
        marks: this.#marks.dropped + this.#stalls.dropped,
        completeFrom: Math.max(span?.to ?? 0, wait?.to ?? 0),
      },
    }
  }

  stop(): Timeline {
    if (this.#end === undefined) {
      for (const [channel, handler] of this.#subscriptions) unsubscribe(channel, handler)
      this.#timer?.cancel()
      this.#noteBeat()
      this.#end = this.#now()
    }
    return this.read()
  }

  [Symbol.dispose](): void {
    this.stop()
  }

  /** One time for all that happens before the event loop goes on: a connection that is handed on is never idle. */
  #now(): number {
    return Math.max((systemClock.recent?.() ?? systemClock.now()) - this.#since, 0)
  }

  /** What there is when the recording begins. */
  #lookAround(): void {
    for (const pool of livePools()) {
      const identity = pool.identity?.()
      if (identity === undefined || identity.instance.stats().state === 'closed') continue
      const index = this.#indexOf(identity.instance)
      if (index === undefined) continue
      const { connections, leases } = pool.reportJson()
      const lent = new Map(leases.map(lease => [lease.connection, lease]))
      for (const { id, state } of connections) {
        if (state === 'closed') continue
        const lease = lent.get(id)
        const site = siteIn(lease?.stack)
        this.#lives.enter(index, id, state, 0, {
          ...(lease === undefined ? {} : { loan: lease.loan, beforeMillis: lease.heldMillis }),
          ...(site === undefined ? {} : { site }),
        })
      }
      pool.observeWaiting?.((waitedMillis, stack) => this.#waitsAlready(index, waitedMillis, siteIn(stack)))
    }
  }

  /** An acquire that waited when the recording began. Nothing on the channels tells of it. */
  #waitsAlready(pool: number, beforeMillis: number, site: string | undefined): WaitObserver {
    const end = (how: Parameters<Waits['end']>[3]): void => {
      if (this.#end === undefined) this.#waits.end(observer, pool, this.#now(), how)
    }
    const observer: WaitObserver = {
      served: (connection, loan, waitedMillis) => {
        end({ waitedMillis, connection })
        if (this.#end === undefined)
          this.#lives.enter(pool, connection, 'lent', this.#now(), {
            loan,
            ...(site === undefined ? {} : { site }),
          })
      },
      failed: (error, waitedMillis) => end({ waitedMillis, error: errorTypeOf(error) }),
    }
    this.#waits.begin(observer, () => ({ pool, from: 0, site, beforeMillis }))
    return observer
  }

  /** A stall that goes on when the recording begins or ends, or that no pool notices, shows by the time without a turn. */
  #planBeat(): void {
    this.#timer = systemClock.after(BEAT_MILLIS, () => {
      this.#noteBeat()
      this.#planBeat()
    })
  }

  #noteBeat(): void {
    const at = this.#now()
    if (at - this.#beat - BEAT_MILLIS >= STALL_MILLIS) this.#stalledFrom(this.#beat, at)
    this.#beat = at
  }

  /** The number of a pool in the recording; undefined if it is not recorded. */
  #indexOf(instance: PoolInstance): number | undefined {
    if (this.#only !== undefined && instance.name !== this.#only) return undefined
    const known = this.#indexes.get(instance)
    if (known !== undefined) return known
    const { name } = instance
    const { max } = instance.stats()
    const index = this.#pools.push({ name, max }) - 1
    this.#indexes.set(instance, index)
    return index
  }

  #handlers(): (readonly [string, (message: unknown) => void])[] {
    const on = <M extends { instance: PoolInstance }>(
      channel: string,
      handle: (message: M, pool: number, at: number) => void,
    ): readonly [string, (message: unknown) => void] => [
      channel,
      message => {
        // Node would end the process with what a subscriber throws.
        try {
          const pool = this.#indexOf((message as M).instance)
          if (pool !== undefined) handle(message as M, pool, this.#now())
        } catch {}
      },
    ]
    const mark = (pool: number, at: number, what: TimelineMark['what'], words: string, connection?: number) =>
      this.#marks.add({ pool, at, what, words, ...(connection === undefined ? {} : { connection }) })
    return [
      on<AcquireMessage>('tracing:lifeguard-pool:acquire:start', (message, pool) =>
        this.#began(message, pool),
      ),
      on<AcquireMessage>('tracing:lifeguard-pool:acquire:asyncEnd', (message, pool, at) =>
        this.#ended(message, pool, at),
      ),
      on<CreateMessage>('tracing:lifeguard-pool:create:error', ({ connection, error }, pool, at) =>
        mark(pool, at, 'create-failed', messageOf(error), connection),
      ),
      on<Told<'state'>>('lifeguard-pool:state', ({ connection, from, state }, pool, at) =>
        this.#lives.moved(pool, connection, from, state, at),
      ),
      on<Told<'release'>>('lifeguard-pool:release', ({ connection, loan }, pool, at) =>
        this.#lives.released(pool, connection, loan, at),
      ),
      on<Told<'destroy'>>('lifeguard-pool:destroy', ({ connection, reason, detail }, pool) =>
        this.#lives.explain(pool, connection, detail === undefined ? reason : `${reason}: ${detail}`),
      ),
      on<Told<'half-close'>>('lifeguard-pool:half-close', ({ connection, detail }, pool, at) => {
        this.#lives.halfClosed(pool, connection, at)
        mark(pool, at, 'half-close', `#${connection}: ${detail}`, connection)
      }),
      on<Told<'deadlock'>>('lifeguard-pool:deadlock', ({ error }, pool, at) =>
        mark(pool, at, 'deadlock', messageOf(error)),
      ),
      on<Told<'leak'>>('lifeguard-pool:leak', ({ connection, stack }, pool, at) =>
        mark(pool, at, 'leak', `#${connection}${takenAt(siteIn(stack))}`, connection),
      ),
      on<Told<'shed'>>('lifeguard-pool:shed', ({ waitedMillis }, pool, at) =>
        mark(pool, at, 'shed', `an acquire was refused after ${Math.round(waitedMillis)} ms`),
      ),
      on<Told<'breaker'>>('lifeguard-pool:breaker', ({ state, error }, pool, at) =>
        mark(pool, at, 'breaker', `${state}${state === 'open' ? `: ${messageOf(error)}` : ''}`),
      ),
      on<Told<'stall'>>('lifeguard-pool:stall', ({ millis }, _, at) =>
        this.#stalledFrom(Math.max(at - millis, 0), at),
      ),
    ]
  }

  #began(message: AcquireMessage, pool: number): void {
    this.#waits.begin(message, () => {
      const isSited = this.#sites.take(systemClock.now())
      // Frames of the package beneath the method that was called cannot be told apart in a bundle, or in another copy.
      const above = (message.instance as Pick<Reporting, 'entryOf'>).entryOf?.(message.call) ?? this.#began
      const site = isSited ? siteIn(new StackTrace(above, SITE_DEPTH).text) : undefined
      return { pool, from: this.#now(), site, beforeMillis: undefined }
    })
  }

  #ended(message: AcquireMessage, pool: number, at: number): void {
    const { waitedMillis = 0, connection, loan, error } = message
    const how = { waitedMillis, connection, error: error === undefined ? undefined : errorTypeOf(error) }
    const site = this.#waits.end(message, pool, at, how)
    if (connection !== undefined && loan !== undefined)
      this.#lives.enter(pool, connection, 'lent', at, { loan, ...(site === undefined ? {} : { site }) })
  }

  /** Every pool tells of it, and the time without a turn. */
  #stalledFrom(from: number, to: number): void {
    const { latest } = this.#stalls
    if (latest === undefined || from >= latest.to) this.#stalls.add({ from, to })
  }
}

const siteIn = (stack: string | undefined): string | undefined => callSite(stack)?.replace(/^at /, '')

const takenAt = (site: string | undefined): string => (site === undefined ? '' : `, taken at ${site}`)
