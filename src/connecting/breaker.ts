import type { DestroyReason } from '../api/stats.ts'
import type { Fault, Slot } from '../connections/slot.ts'
import type { Slots } from '../connections/slots.ts'
import type { Clock } from '../runtime/time/clock.ts'
import { isOpen, isOwnDoing, ownDoing } from '../sockets/socket-state.ts'
import type { ConnectFailure } from './connect-failure.ts'

/** The pause while callers wait and nobody is there, and a tenth more at the most. Milliseconds. */
const RETRY_PAUSE = 50
/** If a server accepts and then closes, each try costs it work: the pause doubles, up to this limit. */
const TURNED_AWAY_PAUSE = 800
/** The longest pause, once callers do not wait any more: "one probe a second". */
const LONGEST_PAUSE = 1000
/** Pauses after errors that a retry cannot fix: five tries a minute, because servers lock accounts. */
const PERMANENT_PAUSES = [1000, 5000, 10_000, 15_000] as const

/** A connection that dies within this time without having been of use is as good as a failed create. */
const EARLY_DEATH_MILLIS = 1000
const DEATH_REASONS: ReadonlySet<DestroyReason> = new Set([
  'half-closed',
  'broken',
  'invalid',
  'invalidated',
  'dirty',
])
/** How long a new connection is watched before it is lent, where others have died: as long as that took, twice. */
const LEAST_WATCH = 5
const LONGEST_WATCH = 50

type BreakerListener = (state: 'open' | 'closed', failures: number, error: unknown) => void

/** What the breaker needs to know of its pool. */
export interface BreakerHost<T> {
  readonly clock: Clock
  readonly random: () => number
  readonly slots: Slots<T>
  readonly options: { readonly unhealthyAfterMillis: number; readonly validateTimeoutMillis: number }
  /** Hears when it opens, and when it closes, with the failures and the last error of that time. */
  readonly listener: BreakerListener
}

/**
 * What failed creates mean for the next ones. From the first failure on there is one create at a time, and a pause
 * before it. Callers wait while the server has been away for less than `unhealthyAfterMillis`, and a server that is
 * back is found within some 50 ms; then the breaker opens: new acquires are told at once, each create is a probe, and
 * the pause grows to a second.
 *
 * A create that goes well says little while connections die young: then each new one is on trial until it has been of
 * use, or has lived, and no others are made beside it (half-open).
 */
export class Breaker<T> {
  /** Failed creates since the last good one. */
  failures = 0
  lastError: unknown
  /** What to do about the last error, where trying again will not mend it. */
  permanentAdvice: string | undefined
  /** No create before this time, in milliseconds of the pool's clock. */
  retryAt = 0
  /**
   * A connection has died before it was of use: until a later one is of use, a create that went well means little.
   */
  unproven = false
  isOpen = false
  /** How often it has opened so far: tells who came while it was open, and who had been waiting by then. */
  openings = 0
  /** Since when the server has been away, as far as anybody has asked, and when it was last seen to be. */
  #awaySince = 0
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
   * @param startedAt - when the failed create began: those of one wave count as one round of the backoff
   * @param awaySince - since when the server may have been away
   * @returns whether it was a probe of an open breaker
   */
  failed(failure: ConnectFailure, startedAt: number, now: number, awaySince = startedAt): boolean {
    const { unhealthyAfterMillis } = this.#host.options
    // After so long without a try this may be a new outage: its time starts anew.
    if (this.failures === 0 || startedAt - this.#failedAt > Math.max(unhealthyAfterMillis, LONGEST_PAUSE))
      this.#awaySince = awaySince
    this.#failedAt = now
    this.failures += 1
    this.lastError = failure.error
    this.permanentAdvice = failure.advice
    const wasOpen = this.isOpen
    if (failure.kind === 'permanent' || now - this.#awaySince >= unhealthyAfterMillis) this.#open()
    if (startedAt >= this.#pausedSince) this.#pause(failure.kind, now)
    return wasOpen
  }

  /** A connection was made, and died without having been of use. */
  diedEarly(failure: ConnectFailure, slot: Slot<T>, now: number): boolean {
    this.unproven = true
    this.#earlyDeathAge = now - slot.createdAt
    // The server was there when it was made.
    return this.failed(failure, slot.startedAt, now, now)
  }

  /** A create has gone well. */
  connected(startedAt: number): void {
    if (!this.unproven) this.#succeeded(startedAt)
  }

  /** A connection has answered, or a loan of it has ended well. */
  provedUseful(slot: Slot<T>): void {
    if (!this.unproven || slot.startedAt < this.#pausedSince) return
    // Where it can be seen whether anything was answered, a loan on which nothing was asked proves nothing.
    const isOfUse = slot.traffic.hasAnswered(slot.socket) ?? true
    if (isOfUse || this.#hasLived(slot)) this.#succeeded(slot.startedAt)
  }

  /** Connections that have not died young are of use as well, though they may be lent for hours, or idle. */
  checkSurvivors(): void {
    if (!this.unproven) return
    for (const slot of this.#host.slots.all) {
      if (slot.startedAt < this.#pausedSince || !this.#hasLived(slot)) continue
      if (slot.state === 'lent' || slot.state === 'idle') {
        this.#succeeded(slot.startedAt)
        return
      }
    }
  }

  /** New connections on trial, and when the first of them will have lived. */
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
   * For how long a new connection is watched before it is lent, in milliseconds. Whoever has had a handshake
   * answered is
   * not hung up on at once. Else a server at its limit hangs up on those beyond it, within a round trip or so; and
   * where connections have died, it takes as long as that took.
   */
  watchMillis({ traffic, startedAt, createdAt }: Slot<T>, hasOthers: boolean): number {
    if (traffic.made?.read !== 0) return 0
    if (this.unproven) return Math.min(Math.max(2 * this.#earlyDeathAge, LEAST_WATCH), LONGEST_WATCH)
    return hasOthers ? Math.min(Math.max(2 * (createdAt - startedAt), 2), LONGEST_WATCH) : 0
  }

  /** Does a connection that ends so count as a failed create? */
  isEarlyDeath(slot: Slot<T>, { reason, detail }: Fault, now: number): boolean {
    // A second loan means that the first has ended well.
    if (slot.loan > 1 || slot.traffic.hasAnswered(slot.socket) === true) return false
    if (slot.loan === 1 && !diedInLoan(slot, reason, detail)) return false
    if (slot.loan === 0 && !DEATH_REASONS.has(reason)) return false
    // As long as it may take until it is known that one does not answer.
    const proof = reason === 'invalid' ? this.#host.options.validateTimeoutMillis : 0
    return now - slot.createdAt < EARLY_DEATH_MILLIS + proof
  }

  /**
   * Has nobody been told yet that the server has been away for too long? Opens it where time has passed, and no
   * create ended.
   */
  openIfOverdue(now: number, isProbing: boolean): void {
    if (this.isOpen || this.failures === 0 || (!isProbing && now >= this.retryAt)) return
    if (now - this.#awaySince >= this.#host.options.unhealthyAfterMillis) this.#open()
  }

  #hasLived({ createdAt }: Slot<T>): boolean {
    return createdAt > 0 && this.#host.clock.now() - createdAt >= EARLY_DEATH_MILLIS
  }

  /** @param startedAt - a create from before the trouble does not speak for new ones */
  #succeeded(startedAt: number): void {
    if (this.unproven && startedAt < this.#pausedSince) return
    const { isOpen, failures, lastError } = this
    this.unproven = false
    this.isOpen = false
    this.failures = 0
    this.lastError = undefined
    this.permanentAdvice = undefined
    this.retryAt = 0
    this.#rounds = 0
    if (isOpen) this.#host.listener('closed', failures, lastError)
  }

  #open(): void {
    if (this.isOpen) return
    this.isOpen = true
    this.openings += 1
    this.#host.listener('open', this.failures, this.lastError)
  }

  #pause(kind: ConnectFailure['kind'], now: number): void {
    const pace = kind !== 'permanent' && this.isOpen ? 'open' : kind
    if (pace !== this.#pace) this.#rounds = 0
    this.#pace = pace
    this.#pausedSince = now
    this.retryAt = now + this.#pauseMillis(pace)
    this.#rounds += 1
  }

  /** Partly random: processes that lost the same server do not come back in step. */
  #pauseMillis(pace: ConnectFailure['kind'] | 'open'): number {
    const random = this.#host.random()
    if (pace === 'unreachable') return RETRY_PAUSE * (1 + random / 10)
    if (pace === 'permanent')
      return (PERMANENT_PAUSES[this.#rounds] ?? PERMANENT_PAUSES[3]) * (1 + random / 10)
    const longest = pace === 'open' ? LONGEST_PAUSE : TURNED_AWAY_PAUSE
    return Math.min(RETRY_PAUSE * 2 ** this.#rounds, longest) * (0.5 + random / 2)
  }
}

/** Did the peer end it, and not its borrower? */
function diedInLoan<T>({ socket }: Slot<T>, reason: DestroyReason, detail: string | undefined): boolean {
  if (reason === 'half-closed' || reason === 'broken') return !isOwnDoing(detail)
  if (socket === undefined) return false
  return !isOpen(socket) && ownDoing(socket) === undefined
}
