import type { PoolStats } from '../api/stats.ts'

/** Closes that come within this time of each other are one episode: a timeout of several, or one restart. */
const EPISODE_MILLIS = 1000
/** No server's idle limit is below this: one that closes sooner does not mean the idling. */
const LEAST_MILLIS = 1000
/** Two ages agree within this: Redis closes up to 1.4 s late, as it looks once a second. */
const AGREE_MILLIS = 1500
const AGREE_SHARE = 0.05
/** A learned limit that nothing has confirmed for so long, or so many limits, is put to the test. */
const TRUST_MILLIS = 600_000
const TRUST_LIMITS = 50
/** A connection that outlives a learned limit so many times disproves it. */
const OUTLIVED = 1.5

interface Episode {
  readonly start: number
  last: number
  least: number
  most: number
}

const agree = (a: number, b: number): boolean =>
  Number.isFinite(a + b) && Math.abs(a - b) <= Math.max(AGREE_MILLIS, AGREE_SHARE * Math.max(a, b))

/** Idle age before which a connection retires: the margin is a second or a tenth, but never more than half. */
const retireAge = (limit: number, leastMargin: number): number =>
  limit - Math.min(Math.max(leastMargin, limit / 10), limit / 2)

/**
 * How long the server leaves an idle connection open: given, asked of it, or learned from the ages at which it closed.
 *
 * One episode of closes proves nothing: a restart closes connections of any age. Two that agree do. An episode whose
 * ages disagree among themselves, or in which connecting failed as well, was a restart and does not count. What comes
 * to be known later can only shorten what was given or asked: a proxy may be stricter than the server.
 */
export class ServerIdleTimeout {
  /** Idle age at which connections retire; `Infinity`: no limit is known. Read on every loan. */
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
  /** Told when what is known has changed. */
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

  /** How often to look for connections that are to retire: often enough for none to use up the margin. */
  get period(): number {
    const limit = Math.min(this.#given, this.#asked, this.#learned)
    return Number.isFinite(limit) ? (limit - this.retireAfter) / 4 : limit
  }

  /** The server has answered; 0 and `Infinity` mean no limit, undefined that it would not say. */
  answered(limit: number | undefined): void {
    const known = typeof limit === 'number' && limit > 0
    this.#asked = known ? limit : Number.POSITIVE_INFINITY
    this.#apply()
  }

  /** The server has closed a connection that had been idle so long. */
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

  /** Connecting has failed: closes at about this time say that the server went away, not that it was bored. */
  refused(now: number): void {
    this.#refusedAt = now
  }

  /** A connection that has been idle so long is alive. */
  survived(idleMillis: number): void {
    if (idleMillis < this.#learned * OUTLIVED) return
    this.#learned = Number.POSITIVE_INFINITY
    this.#candidate = undefined
    this.#apply()
  }

  /** Is it time to let one connection outlive the learned limit, to see whether it still holds? */
  isDoubted(now: number): boolean {
    const trust = Math.max(TRUST_MILLIS, TRUST_LIMITS * this.#learned)
    return this.#learned < Math.min(this.#given, this.#asked) && now - this.#confirmedAt > trust
  }

  /** Draws the conclusion from an episode that is over. */
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
    const told = Math.min(this.#given, this.#asked)
    // What is learned was seen up to a second or two late.
    const retireAfter = Math.min(
      Number.isFinite(told) ? retireAge(told, 1000) : told,
      Number.isFinite(this.#learned) ? retireAge(this.#learned, 2000) : this.#learned,
    )
    if (retireAfter === this.retireAfter) return
    this.retireAfter = retireAfter
    this.onChange()
  }
}
