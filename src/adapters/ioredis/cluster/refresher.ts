import { isPoolError, messageOf } from '../../../api/errors.ts'
import { log } from '../../../runtime/log/log.ts'
import { backoff } from '../../../runtime/time/backoff.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import { isOfCredentials } from '../client/credentials.ts'
import { replyWithin } from '../client/replies/error-replies.ts'
import { type Address, inWords } from '../failover/addresses.ts'
import { REFUSED_PAUSE, refusalAdvice } from './refusals.ts'
import type { View } from './view.ts'

/** How many nodes are asked: one more than have to agree. */
const WANTED = 3
/**
 * How long the slower ones are waited for once two have answered; and the same the first time, as two that differ then
 * tell nothing. Milliseconds.
 */
const GRACE_MILLIS = 50
const FIRST_GRACE_MILLIS = 500
/** If nodes have not answered after this time, others are asked as well. Milliseconds. */
const STAGGER_MILLIS = 100
/** The first and the longest pause between two refreshes. It grows as long as they tell nothing new. Milliseconds. */
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 400

export interface RefreshHost {
  readonly name: string
  /** Has any topology been believed so far? */
  isKnown(): boolean
  isClosed(): boolean
  /** The nodes that may be asked, in order. */
  candidates(): readonly Address[]
  ask(address: Address): Promise<View>
  /**
   * @param isAll - nobody else could be asked
   * @returns whether there was anything new
   */
  learn(views: readonly View[], isAll: boolean): boolean
}

/** A node has refused for good. */
interface Refusal {
  readonly error: unknown
  readonly advice: string
  /** It is not asked again before that. */
  until: number
}

interface Answers {
  readonly views: readonly View[]
  readonly isAll: boolean
  readonly failures: readonly unknown[]
}

/** Asks nodes for the topology. All who want it at the same time share one refresh, and there is a pause between two. */
export class Refresher {
  readonly #host: RefreshHost
  #current: Promise<void> | undefined
  /** Have nodes been asked in the current refresh? */
  #isAsking = false
  #endedAt = Number.NEGATIVE_INFINITY
  /** How many refreshes in a row have told nothing new. */
  #fruitless = 0
  /** Ends the pause in progress. */
  #endPause: () => void = () => {}
  /** How often the nodes have been asked. */
  count = 0
  /** Why the last node that failed could not be asked. */
  lastError: unknown
  /** Has any node answered so far? */
  hasAnswer = false
  /**
   * Set while no topology is known, and all nodes that could be reached have refused for good: what to do about it. One
   * that cannot be reached may be starting, and then accept. So it goes on being asked, but nobody waits for that: the
   * others would refuse the same user later, too.
   */
  hopeless: string | undefined
  /** The nodes that have refused for good while no topology was known. */
  readonly #refusals = new Map<string, Refusal>()

  constructor(host: RefreshHost) {
    this.#host = host
  }

  /** Never rejects. */
  refresh(): Promise<void> {
    this.#current ??= this.#refresh().finally(() => {
      this.#current = undefined
      this.#endedAt = systemClock.now()
    })
    return this.#current
  }

  /** There is something new: asks now, without the pause. */
  hurry(): void {
    void this.refresh()
    this.#endPause()
  }

  /** Resolves when nodes have answered what they were asked after this call. Does not wait for the pause. Never rejects. */
  async anew(): Promise<void> {
    // These answers may be older.
    if (this.#isAsking) await this.#current
    this.hurry()
    await this.refresh()
  }

  async #refresh(): Promise<void> {
    const next = this.#endedAt + backoff(this.#fruitless, FIRST_PAUSE, LONGEST_PAUSE)
    const rest = Math.max(next, this.#refuseUntil()) - systemClock.now()
    if (rest > 0)
      await new Promise<void>(resolve => {
        const timer = systemClock.after(rest, resolve)
        this.#endPause = () => {
          timer.cancel()
          resolve()
        }
      })
    if (this.#host.isClosed()) return
    this.count += 1
    this.#isAsking = true
    const { views, isAll, failures } = await this.#askNodes()
    this.#isAsking = false
    this.hasAnswer ||= views.length > 0
    this.#fruitless = this.#host.learn(views, isAll) ? 0 : this.#fruitless + 1
    const [refusal] = this.#refusals.values()
    const isHopeless = isAll && views.length === 0 && !this.#host.isKnown() && !failures.some(mayPass)
    this.hopeless = isHopeless ? refusal?.advice : undefined
    if (this.#host.isKnown()) this.#refusals.clear()
    else if (refusal !== undefined) this.lastError = refusal.error
    // Together, so that all are asked at the same time again.
    const until = systemClock.now() + REFUSED_PAUSE
    for (const each of this.#refusals.values()) if (failures.includes(each.error)) each.until = until
  }

  /** @returns until when all nodes refuse, and there is nobody to ask */
  #refuseUntil(): number {
    const until = this.#host.candidates().map(node => this.#refusals.get(inWords(node))?.until ?? 0)
    return Math.min(...until)
  }

  #failed(key: string, error: unknown): void {
    const advice = refusalAdvice(error)
    if (advice !== undefined && !this.#host.isKnown())
      this.#refusals.set(key, { error, advice, until: systemClock.now() + REFUSED_PAUSE })
    if (advice !== undefined || this.#refusals.size === 0) this.lastError = error
    if (log.pool.enabled) log.pool('%s: topology from %s: %s', this.#host.name, key, messageOf(error))
  }

  #askNodes(): Promise<Answers> {
    const order = new Map(this.#host.candidates().map(address => [inWords(address), address]))
    const views: View[] = []
    const failures: unknown[] = []
    // Those that refuse count as asked: nothing else is to be expected of them.
    const now = systemClock.now()
    const refusing = [...this.#refusals].filter(([, { until }]) => until > now).map(([key]) => key)
    const asked = new Set(refusing.filter(key => order.has(key)))
    return new Promise(resolve => {
      let open = 0
      let extra = 0
      let isDone = false
      const done = (): void => {
        isDone = true
        grace?.cancel()
        stagger.cancel()
        resolve({ views: [...views], isAll: open === 0 && asked.size === order.size, failures })
      }
      let grace: { cancel(): void } | undefined
      const askMore = (): void => {
        for (const [key, address] of order) {
          if (open + views.length >= WANTED + extra) break
          if (asked.has(key)) continue
          asked.add(key)
          this.#refusals.delete(key)
          open += 1
          this.#host.ask(address).then(answered, error => {
            failures.push(error)
            this.#failed(key, error)
            answered(undefined)
          })
        }
        if (open === 0) done()
      }
      const answered = (view: View | undefined): void => {
        open -= 1
        if (isDone) return
        if (view !== undefined) {
          // The same node may be known under two addresses, and has one vote.
          if (!views.some(({ id }) => id === view.id)) views.push(view)
          // Who knows only this one so far asks those whom it names.
          for (const { address } of view.nodes.values()) order.set(inWords(address), address)
        }
        if (views.length >= WANTED) done()
        else {
          const millis = this.#host.isKnown() ? GRACE_MILLIS : FIRST_GRACE_MILLIS
          if (views.length >= 2) grace ??= systemClock.after(millis, done)
          askMore()
        }
      }
      let stagger = systemClock.after(STAGGER_MILLIS, () => slow())
      const slow = (): void => {
        extra += 1
        stagger = systemClock.after(STAGGER_MILLIS, () => slow())
        askMore()
      }
      askMore()
    })
  }
}

/** Has the node been reached, or not been asked, and may the next try succeed? As with a node that is loading. */
const mayPass = (error: unknown): boolean =>
  refusalAdvice(error) === undefined &&
  (replyWithin(error) !== undefined || isOfCredentials(error) || isPoolError(error, 'POOL_BAD_REPLY'))

/** @param isAwaited - a caller waits for what follows, and so the process must not end before */
export const pause = (millis: number, isAwaited: boolean): Promise<void> =>
  new Promise(resolve => {
    systemClock.after(millis, resolve).hold(isAwaited)
  })
