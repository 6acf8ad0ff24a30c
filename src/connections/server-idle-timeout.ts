import type { PoolStats } from '../api/stats.ts'

/**
 * Closes that occur within this time of each other form one episode: an idle limit hit several, or a restart.
 * Milliseconds.
 */
const EPISODE_MILLIS = 1000
/** No server has a shorter idle limit: a close that comes sooner has another cause. Milliseconds. */
const LEAST_MILLIS = 1000
/**
 * Two ages agree within this time, or within this share: Redis closes up to 1.4 s late, because it checks once a
 * second.
 */
const AGREE_MILLIS = 1500
const AGREE_SHARE = 0.05
/**
 * A learned limit is tested again when nothing has confirmed it for this many milliseconds, or this many times the
 * limit.
 */
const TRUST_MILLIS = 600_000
const TRUST_LIMITS = 50
/** A connection that stays alive for this many times a learned limit disproves it. */
const OUTLIVED = 1.5

interface Episode {
  readonly start: number
  last: number
  least: number
  most: number
}

const agree = (a: number, b: number): boolean =>
  Number.isFinite(a + b) && Math.abs(a - b) <= Math.max(AGREE_MILLIS, AGREE_SHARE * Math.max(a, b))

/**
 * The idle age at which connections retire. The margin is a tenth of the limit, but at least `leastMargin` and at most
 * half the limit.
 */
const retireAge = (limit: number, leastMargin: number): number =>
  limit - Math.min(Math.max(leastMargin, limit / 10), limit / 2)

/**
 * How long the server keeps an idle connection open: configured, read from the server, or learned from the ages at
 * which it closed connections.
 *
 * One episode of closes proves nothing, because a restart closes connections of any age. Two episodes that agree do. An
 * episode counts as a restart and is ignored if its ages differ, or if connecting failed as well. A learned limit can
 * only shorten a configured one or one read from the server: a proxy may be stricter than the server.
 */
export class ServerIdleTimeout {
  /** The idle age at which connections retire; `Infinity` if no limit is known. Read on every loan. */
  retireAfter = Number.POSITIVE_INFINITY
  #given = Number.POSITIVE_INFINITY
  #asked = Number.POSITIVE_INFINITY
  #learned = Number.POSITIVE_INFINITY
  #confirmedAt = 0
  #closes = 0
  #candidate: number | undefined
  #episode: Episode | undefined
  #refusedAt = Number.NEGATIVE_INFINITY
  readonly #learns: boolean
  /** Is called when the limit has changed. */
  onChange: () => void = () => {}

  constructor(option: number | 'auto' | 'none', learns: boolean) {
    this.#learns = learns && option !== 'none'
    if (typeof option === 'number') this.#given = option
    this.#apply()
  }

  get stats(): PoolStats['serverTimeout'] {
    const limit = Math.min(this.#given, this.#asked, this.#learned)
    const known = Number.isFinite(limit)
    const source = !known
      ? 'unknown'
      : this.#given === limit
        ? 'given'
        : this.#asked === limit
          ? 'asked'
          : 'learned'
    return {
      limitMillis: known ? limit : undefined,
      retireAfterMillis: known ? this.retireAfter : undefined,
      source,
      closesSeen: this.#closes,
    }
  }

  /** How often to check for connections that must retire: often enough that none uses up the margin. Milliseconds. */
  get period(): number {
    const limit = Math.min(this.#given, this.#asked, this.#learned)
    return Number.isFinite(limit) ? (limit - this.retireAfter) / 4 : limit
  }

  /** Called with the server's answer: 0 and `Infinity` mean no limit, undefined that it did not say. */
  answered(limit: number | undefined): void {
    const known = typeof limit === 'number' && limit > 0
    this.#asked = known ? limit : Number.POSITIVE_INFINITY
    this.#apply()
  }

  /** Called when the server has closed a connection that had been idle for this long. */
  closed(idleMillis: number, now: number): void {
    if (!this.#learns) return
    this.conclude(now)
    this.#closes += 1
    if (idleMillis < LEAST_MILLIS) return
    const episode = this.#episode
    if (episode === undefined) this.#episode = { start: now, last: now, least: idleMillis, most: idleMillis }
    else {
      episode.last = now
      episode.least = Math.min(episode.least, idleMillis)
      episode.most = Math.max(episode.most, idleMillis)
    }
  }

  /**
   * Called when connecting has failed. Closes at about the same time mean that the server went away, not an idle limit.
   */
  refused(now: number): void {
    this.#refusedAt = now
  }

  /** Called when a connection that has been idle for this long is alive. */
  survived(idleMillis: number): void {
    if (idleMillis < this.#learned * OUTLIVED) return
    this.#learned = Number.POSITIVE_INFINITY
    this.#candidate = undefined
    this.#apply()
  }

  /** Should one connection outlive the learned limit now, to see whether the limit still holds? */
  isDoubted(now: number): boolean {
    const trust = Math.max(TRUST_MILLIS, TRUST_LIMITS * this.#learned)
    return this.#learned < Math.min(this.#given, this.#asked) && now - this.#confirmedAt > trust
  }

  /** Evaluates an episode that is over. */
  conclude(now: number): void {
    const episode = this.#episode
    if (episode === undefined || now - episode.last < EPISODE_MILLIS) return
    this.#episode = undefined
    const { start, least, most } = episode
    if (this.#refusedAt >= start - EPISODE_MILLIS || !agree(least, most)) return
    const confirms = agree(least, this.#learned)
    if (confirms || (this.#candidate !== undefined && agree(least, this.#candidate))) {
      this.#learned = Math.min(least, confirms ? this.#learned : (this.#candidate ?? least))
      this.#confirmedAt = now
      this.#apply()
    }
    this.#candidate = least
  }

  #apply(): void {
    const known = Math.min(this.#given, this.#asked)
    // A learned limit was observed up to two seconds too late, so its margin is larger.
    const retireAfter = Math.min(
      Number.isFinite(known) ? retireAge(known, 1000) : known,
      Number.isFinite(this.#learned) ? retireAge(this.#learned, 2000) : this.#learned,
    )
    if (retireAfter === this.retireAfter) return
    this.retireAfter = retireAfter
    this.onChange()
  }
}
