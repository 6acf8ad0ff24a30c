import type { Slot } from '../connections/slot.ts'
import type { Slots } from '../connections/slots.ts'
import { backoff } from '../runtime/time/backoff.ts'
import type { Clock } from '../runtime/time/clock.ts'
import type { ConnectFailure } from './connect-failure.ts'
import { EARLY_DEATH_MILLIS } from './early-death.ts'

/** The pause between tries while callers wait and the server is unreachable, plus up to a tenth. Milliseconds. */
const RETRY_PAUSE = 50
/**
 * If a server accepts connections and closes them, each try costs it work: the pause doubles up to this. Milliseconds.
 */
const TURNED_AWAY_PAUSE = 800
/** The longest pause while the breaker is open: "one probe a second". Milliseconds. */
const LONGEST_PAUSE = 1000
/** Pauses after errors that a retry cannot fix: five tries a minute, because servers lock accounts. Milliseconds. */
const PERMANENT_PAUSES = [1000, 5000, 10_000, 15_000] as const

/**
 * How long a new connection is watched before it is lent, if others died young: twice the time that this took, within
 * these limits. Milliseconds.
 */
const LEAST_WATCH = 5
const LONGEST_WATCH = 50

type BreakerListener = (state: 'open' | 'closed', failures: number, error: unknown) => void

/** What the breaker needs to know about its pool. */
interface BreakerHost<T> {
  readonly clock: Clock
  readonly random: () => number
  readonly slots: Slots<T>
  readonly options: { readonly unhealthyAfterMillis: number }
  /** Does an acquire that came before this time still wait? */
  readonly isAwaitedSince: (time: number) => boolean
  /** Is called when the breaker opens or closes, with the failures in a row and the last error. */
  readonly listener: BreakerListener
}

/**
 * Decides what failed creates mean for the next ones. From the first failure on, only one create runs at a time, after
 * a pause. Callers keep waiting until the server has been away for `unhealthyAfterMillis`, and a server that is back is
 * found within about 50 ms. Then the breaker opens: new acquires fail at once, each create is a probe, and the pause
 * grows to one second.
 *
 * While connections die young, a successful create proves little. Then each new connection is on trial until it has
 * been of use or has lived long enough, and no others are created beside it (half-open).
 */
export class Breaker<T> {
  /** Failed creates since the last successful one. */
  failures = 0
  lastError: unknown
  /** What to do about the last error, if trying again will not help. */
  permanentAdvice: string | undefined
  /** No create starts before this time, in milliseconds of the pool's clock. */
  retryAt = 0
  /**
   * Set when a connection has died before it was of use. Until a later one is of use, a successful create proves
   * little.
   */
  unproven = false
  isOpen = false
  /** How often the breaker has opened. Tells waiters that came while it was open from those that waited already. */
  openings = 0
  /** `#awaySince`: since when the server has been away, as far as known. `#failedAt`: when it was last found away. */
  #awaySince = 0
  #openedAt = 0
  #failedAt = 0
  #rounds = 0
  #pace: ConnectFailure['kind'] | 'open' | undefined
  #pausedSince = Number.NEGATIVE_INFINITY
  #earlyDeathAge = 0
  readonly #host: BreakerHost<T>

  constructor(host: BreakerHost<T>) {
    this.#host = host
  }

  /**
   * @param startedAt - when the failed create began; creates that began together count as one round of the backoff
   * @param awaySince - since when the server may have been away
   * @returns whether it was a probe of an open breaker
   */
  failed(failure: ConnectFailure, startedAt: number, now: number, awaySince = startedAt): boolean {
    const { unhealthyAfterMillis } = this.#host.options
    // If no create was tried for longer than this, it may be a new outage, so its time starts again.
    if (this.failures === 0 || startedAt - this.#failedAt > Math.max(unhealthyAfterMillis, LONGEST_PAUSE))
      this.#awaySince = awaySince
    this.#failedAt = now
    this.failures += 1
    this.lastError = failure.error
    this.permanentAdvice = failure.advice
    const wasOpen = this.isOpen
    if (failure.kind === 'permanent' || now - this.#awaySince >= unhealthyAfterMillis) this.#open(now)
    if (startedAt > this.#pausedSince) this.#pause(failure.kind, now)
    return wasOpen
  }

  /** Called when a connection was made and died without having been of use. */
  diedEarly(failure: ConnectFailure, slot: Slot<T>, now: number): boolean {
    this.unproven = true
    this.#earlyDeathAge = now - slot.createdAt
    // The server was there when the connection was made, so it cannot have been away for longer.
    return this.failed(failure, slot.startedAt, now, now)
  }

  /** Called when a create has succeeded. */
  connected(): void {
    if (!this.unproven) this.#succeeded()
  }

  /** Called when a connection has answered, or a loan of it has ended well. */
  provedUseful(slot: Slot<T>): void {
    // One from before the trouble proves nothing about new ones.
    if (!this.unproven || slot.startedAt < this.#pausedSince) return
    // Where answers can be observed, a loan in which nothing was asked proves nothing.
    const isOfUse = slot.traffic.hasAnswered(slot.socket) ?? true
    if (isOfUse || this.#hasLived(slot)) this.#succeeded()
  }

  /** Accepts connections that have lived long enough as proof too, because they may be lent for hours, or stay idle. */
  checkSurvivors(): void {
    if (!this.unproven) return
    for (const slot of this.#host.slots.all) {
      if (slot.startedAt < this.#pausedSince || !this.#hasLived(slot)) continue
      if (slot.state === 'lent' || slot.state === 'idle') {
        this.#succeeded()
        return
      }
    }
  }

  /** How many new connections are on trial, and when the first of them will have lived long enough. */
  get trials(): { readonly count: number; readonly until: number } {
    let count = 0
    let until = Number.POSITIVE_INFINITY
    for (const slot of this.#host.slots.all) {
      if (slot.createdAt === 0 || slot.state === 'closing' || slot.startedAt < this.#pausedSince) continue
      if (slot.loan > 1 || this.#hasLived(slot)) continue
      count += 1
      until = Math.min(until, slot.createdAt + EARLY_DEATH_MILLIS)
    }
    return { count, until }
  }

  /**
   * For how long a new connection is watched before it is lent, in milliseconds. A server that has answered the
   * handshake does not close the connection right after it. Otherwise, a server at its limit closes surplus connections
   * within about a round trip. If connections have died young, the wait follows how long that took.
   */
  watchMillis({ traffic, startedAt, createdAt }: Slot<T>, hasOthers: boolean): number {
    if (traffic.made?.read !== 0) return 0
    if (this.unproven) return Math.min(Math.max(2 * this.#earlyDeathAge, LEAST_WATCH), LONGEST_WATCH)
    return hasOthers ? Math.min(Math.max(2 * (createdAt - startedAt), 2), LONGEST_WATCH) : 0
  }

  /** Opens the breaker if the server has been away for too long, but no create has ended since then to show it. */
  openIfOverdue(now: number, isProbing: boolean): void {
    if (this.isOpen || this.failures === 0 || (!isProbing && now >= this.retryAt)) return
    if (now - this.#awaySince >= this.#host.options.unhealthyAfterMillis) this.#open(now)
  }

  #hasLived({ createdAt }: Slot<T>): boolean {
    return createdAt > 0 && this.#host.clock.now() - createdAt >= EARLY_DEATH_MILLIS
  }

  #succeeded(): void {
    const { failures, lastError } = this
    this.unproven = false
    this.failures = 0
    this.lastError = undefined
    this.permanentAdvice = undefined
    this.retryAt = 0
    this.#rounds = 0
    this.#move('closed', failures, lastError)
  }

  #open(now: number): void {
    if (!this.isOpen) this.#openedAt = now
    this.#move('open', this.failures, this.lastError)
  }

  /** The one place where the breaker moves: closed → open → closed. */
  #move(to: 'open' | 'closed', failures: number, error: unknown): void {
    if (this.isOpen === (to === 'open')) return
    this.isOpen = to === 'open'
    if (this.isOpen) this.openings += 1
    this.#host.listener(to, failures, error)
  }

  #pause(kind: ConnectFailure['kind'], now: number): void {
    const pace = this.isOpen && kind !== 'permanent' && !this.#isAwaited(kind, now) ? 'open' : kind
    if (pace !== this.#pace) this.#rounds = 0
    this.#pace = pace
    this.#pausedSince = now
    this.retryAt = now + this.#pauseMillis(pace)
    this.#rounds += 1
  }

  /**
   * Should the pause stay short for waiters that came before the breaker opened? They keep waiting, and must not miss
   * the server's return because of a long pause. It stays short for as long again as it took to open. By default, the
   * first of these waiters have given up by then.
   */
  #isAwaited(kind: ConnectFailure['kind'], now: number): boolean {
    return (
      kind === 'unreachable' &&
      now - this.#awaySince < 2 * this.#host.options.unhealthyAfterMillis &&
      this.#host.isAwaitedSince(this.#openedAt)
    )
  }

  /** The pause is partly random, so that processes that lost the same server do not retry in step. */
  #pauseMillis(pace: ConnectFailure['kind'] | 'open'): number {
    const random = this.#host.random()
    if (pace === 'unreachable') return RETRY_PAUSE * (1 + random / 10)
    if (pace === 'permanent')
      return (PERMANENT_PAUSES[this.#rounds] ?? PERMANENT_PAUSES[3]) * (1 + random / 10)
    const longest = pace === 'open' ? LONGEST_PAUSE : TURNED_AWAY_PAUSE
    return backoff(this.#rounds, RETRY_PAUSE, longest) * (0.5 + random / 2)
  }
}
