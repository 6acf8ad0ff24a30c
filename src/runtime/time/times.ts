import type { PoolStats, TimesOf } from '../../api/stats.ts'

/**
 * Upper bounds of the buckets in milliseconds, from 0.1 ms to 10 s, the same as go-redis and redis-py use for the same
 * metrics. A time that equals a bound belongs to the bucket below it, as in OpenTelemetry and Prometheus.
 *
 * Not exported: an exported constant is looked up on `exports` at each use, which here would cost as much as all the
 * rest.
 */
const BOUNDS: readonly number[] = Object.freeze([0.1, 0.5, 1, 5, 10, 50, 100, 500, 1000, 5000, 10_000])
const LOWEST = 0.1

/**
 * Is called with each time when it is counted, in the middle of a step of the pool. It must not call the pool or throw.
 */
export type WatchTimes = (what: 'wait' | 'use' | 'create', millis: number) => void

/** Counts times in buckets. */
class Histogram {
  readonly #counts = new Float64Array(BOUNDS.length + 1)
  #sum = 0
  #max = 0

  /** A time in the lowest bucket only adds to the sum. {@link read} derives its count from the total. */
  add(millis: number): void {
    this.#sum += millis
    if (millis > LOWEST) this.#count(millis)
  }

  /** @param count - how many times there were in all, including zero times that were never added */
  read(count: number): TimesOf {
    const counts = Array.from(this.#counts)
    counts[0] = count - counts.reduce((sum, each) => sum + each, 0)
    // If all times fell into the lowest bucket, the exact maximum was not tracked. This is its upper bound.
    const maxMillis = this.#max > 0 ? this.#max : Math.min(this.#sum, LOWEST)
    return { count, sumMillis: this.#sum, maxMillis, bounds: BOUNDS, counts }
  }

  #count(millis: number): void {
    const counts = this.#counts
    let bucket = 1
    while (bucket < BOUNDS.length && millis > (BOUNDS[bucket] as number)) bucket += 1
    counts[bucket] = (counts[bucket] as number) + 1
    if (millis > this.#max) this.#max = millis
  }
}

/** How long the acquires, loans and creates of a pool took, and how many connections and waiters there were at most. */
export class Times {
  readonly #use = new Histogram()
  readonly #create = new Histogram()
  /** Acquires that waited. All others were served at once. */
  readonly #wait = new Histogram()
  #mostLent = 0
  #mostWaiting = 0
  /** Calls the watchers; `undefined` if there are none. */
  #watch: WatchTimes | undefined
  #watchers: readonly WatchTimes[] = []

  /**
   * Called when a connection was lent.
   * @param lent - how many are lent now
   */
  lent(lent: number, waitedMillis: number): void {
    if (waitedMillis > 0) this.#wait.add(waitedMillis)
    if (lent > this.#mostLent) this.#mostLent = lent
    if (this.#watch !== undefined) this.#watch('wait', waitedMillis)
  }

  /** Called when a loan has ended. */
  released(heldMillis: number): void {
    this.#use.add(heldMillis)
    if (this.#watch !== undefined) this.#watch('use', heldMillis)
  }

  /** Called when a connection has been created. */
  created(millis: number): void {
    this.#create.add(millis)
    this.#watch?.('create', millis)
  }

  /** @returns a function that removes the watcher */
  watch(watch: WatchTimes): () => void {
    this.#setWatchers([...this.#watchers, watch])
    return () => this.#setWatchers(this.#watchers.filter(each => each !== watch))
  }

  #setWatchers(watchers: readonly WatchTimes[]): void {
    this.#watchers = watchers
    const [only] = watchers
    this.#watch =
      watchers.length < 2
        ? only
        : (what, millis) => {
            for (const watch of watchers) watch(what, millis)
          }
  }

  /** @param waiting - how many acquires wait now */
  queued(waiting: number): void {
    if (waiting > this.#mostWaiting) this.#mostWaiting = waiting
  }

  /** @param totals - how many connections were lent, returned and created so far */
  read({ acquired, released, created }: PoolStats['totals']): Pick<PoolStats, 'times' | 'peaks'> {
    return {
      times: {
        wait: this.#wait.read(acquired),
        use: this.#use.read(released),
        create: this.#create.read(created),
      },
      peaks: { borrowed: this.#mostLent, pending: this.#mostWaiting },
    }
  }
}
