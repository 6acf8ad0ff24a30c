import type { LiveData } from '../../src/diagnostics/live/live-data.ts'
import { encoded } from '../shared/dom.ts'

/** How often the page asks, if that takes the process at most a twentieth of its time. Milliseconds. */
const EVERY_MILLIS = 1000
const LEAST_SHARE = 20
const LONGEST_MILLIS = 10_000
/** After this long it asks again. Milliseconds. */
const PATIENCE_MILLIS = 60_000

/** Asks the process for its state, again and again, one question at a time. */
export class Source {
  /** Kept in memory alone: it is gone with the page. */
  token: string | undefined
  onData: (data: LiveData) => void = () => {}
  onRefused: () => void = () => {}
  /** When the last answer came, by the page's clock, and what was wrong with the last question. */
  answeredAt = performance.now()
  trouble: string | undefined
  /** Since when a question is without an answer. */
  askedAt: number | undefined
  isPaused = false
  #timer: ReturnType<typeof setTimeout> | undefined
  readonly #base: string

  constructor() {
    // The handler may be mounted below a path, with or without a slash at its end.
    this.#base = location.pathname.endsWith('/') ? location.pathname : `${location.pathname}/`
  }

  start(): void {
    clearTimeout(this.#timer)
    void this.#ask()
  }

  /** The report of a pool, as text. */
  async report(pool: string): Promise<string> {
    const response = await this.#fetch(`report?pool=${encoded(pool)}`)
    if (!response.ok) throw new Error(`the answer was ${response.status}`)
    return await response.text()
  }

  async #ask(): Promise<void> {
    let next = EVERY_MILLIS
    this.askedAt = this.isPaused ? undefined : performance.now()
    try {
      const response = this.isPaused ? undefined : await this.#fetch('live.json')
      if (response?.status === 401) {
        this.onRefused()
        return
      }
      if (response !== undefined) {
        if (!response.ok) throw new Error(`the answer was ${response.status}`)
        const data = (await response.json()) as LiveData
        this.answeredAt = performance.now()
        this.trouble = undefined
        next = Math.min(Math.max(EVERY_MILLIS, data.tookMillis * LEAST_SHARE), LONGEST_MILLIS)
        this.onData(data)
      }
    } catch (error) {
      this.trouble = error instanceof Error ? error.message : String(error)
    }
    this.askedAt = undefined
    this.#timer = setTimeout(() => void this.#ask(), next)
  }

  #fetch(path: string): Promise<Response> {
    return fetch(this.#base + path, {
      headers: {
        accept: path.startsWith('live') ? 'application/json' : 'text/plain',
        ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
      },
      cache: 'no-store',
      credentials: 'same-origin',
      signal: AbortSignal.timeout(PATIENCE_MILLIS),
    })
  }
}
