import type { TimesOf } from '../../src/api/stats.ts'
import { count, duration, el, say, svg } from '../shared/dom.ts'
import { type Point, quantile } from './history.ts'

const WIDTH = 220
const HEIGHT = 44
/** Without an answer for so long, the line is interrupted. Milliseconds. */
const GAP_MILLIS = 8000

/** A small line of the last minutes, with its latest and its highest value in words. */
export class Sparkline {
  readonly element: HTMLElement
  readonly #value = el('strong')
  readonly #most = el('span', { class: 'dim' })
  readonly #line = svg('path', { class: 'line' })
  readonly #area = svg('path', { class: 'area' })
  readonly #words: (value: number) => string

  constructor(title: string, words: (value: number) => string) {
    this.#words = words
    const picture = svg(
      'svg',
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: 'none',
        'aria-hidden': 'true',
        class: 'spark',
      },
      this.#area,
      this.#line,
    )
    const head = el('div', { class: 'spark-head' }, el('span', {}, title), this.#value)
    this.element = el('div', { class: 'spark-box' }, head, picture, this.#most)
  }

  show(points: readonly Point[], now: number, spanMillis: number): void {
    const last = points.at(-1)
    say(this.#value, last === undefined ? '…' : this.#words(last.value))
    const most = points.reduce((top, { value }) => Math.max(top, value), 0)
    say(this.#most, `most ${this.#words(most)} in ${duration(spanMillis)}`)
    const y = (value: number): number => HEIGHT - 2 - (most === 0 ? 0 : (value / most) * (HEIGHT - 5))
    let line = ''
    let area = ''
    let before: Point | undefined
    let from = 0
    const close = (x: number): void => {
      if (line !== '' && before !== undefined) area += `L${x} ${HEIGHT}L${from} ${HEIGHT}Z`
    }
    for (const point of points) {
      const x = Number((WIDTH - ((now - point.at) / spanMillis) * WIDTH).toFixed(1))
      if (x < -2) continue
      const isGap = before === undefined || point.at - before.at > GAP_MILLIS
      if (isGap) {
        if (before !== undefined) close(Number((WIDTH - ((now - before.at) / spanMillis) * WIDTH).toFixed(1)))
        from = x
      }
      const step = `${isGap ? 'M' : 'L'}${x} ${y(point.value).toFixed(1)}`
      line += step
      area += step
      before = point
    }
    if (before !== undefined) close(Number((WIDTH - ((now - before.at) / spanMillis) * WIDTH).toFixed(1)))
    this.#line.setAttribute('d', line)
    this.#area.setAttribute('d', area)
  }
}

const BAR_HEIGHT = 84

/** How long something took: what the page has seen filled, all since the start as an outline. */
export class Histogram {
  readonly element: HTMLElement
  readonly #picture = svg('svg', { class: 'histogram', 'aria-hidden': 'true', preserveAspectRatio: 'none' })
  readonly #words = el('p', { class: 'dim' })
  readonly #low = el('span')
  readonly #middle = el('span')
  readonly #high = el('span')

  constructor(title: string) {
    const scale = el('div', { class: 'scale dim' }, this.#low, this.#middle, this.#high)
    this.element = el('section', {}, el('h2', {}, title), this.#picture, scale, this.#words)
  }

  show(times: TimesOf, recent: readonly number[], spanMillis: number): void {
    const { counts, bounds } = times
    const used = counts.map((each, bucket) => each > 0 || (recent[bucket] ?? 0) > 0)
    const first = Math.max(used.indexOf(true) - 1, 0)
    const last = Math.min(Math.max(used.lastIndexOf(true) + 1, first + 6), counts.length - 1)
    const buckets = last - first + 1
    const all = Math.max(...counts, 1)
    const now = Math.max(...recent, 1)
    const bars: Node[] = []
    for (let bucket = first; bucket <= last; bucket += 1) {
      const x = bucket - first
      const old = ((counts[bucket] ?? 0) / all) * (BAR_HEIGHT - 4)
      const fresh = ((recent[bucket] ?? 0) / now) * (BAR_HEIGHT - 4)
      bars.push(svg('rect', { class: 'old', x: x + 0.04, width: 0.92, y: BAR_HEIGHT - old, height: old }))
      bars.push(
        svg('rect', { class: 'fresh', x: x + 0.16, width: 0.68, y: BAR_HEIGHT - fresh, height: fresh }),
      )
    }
    this.#picture.setAttribute('viewBox', `0 0 ${buckets} ${BAR_HEIGHT}`)
    this.#picture.replaceChildren(...bars)
    say(this.#low, first === 0 ? '0' : duration(bounds[first - 1] ?? 0))
    say(this.#middle, duration(bounds[Math.floor((first + last) / 2)] ?? times.maxMillis))
    say(this.#high, bounds[last] === undefined ? 'longer' : duration(bounds[last] ?? 0))
    const fresh = recent.reduce((sum, each) => sum + each, 0)
    const spread = (of: readonly number[]): string => {
      const [half, most] = [quantile(of, times, 0.5), quantile(of, times, 0.99)]
      return half === undefined ? 'none' : `half up to ${duration(half)}, 99 % up to ${duration(most ?? 0)}`
    }
    say(
      this.#words,
      `Filled, seen here in the last ${duration(spanMillis)}: ${fresh === 0 ? 'none' : `${count(fresh)}, ${spread(recent)}`}. ` +
        `Outlined, since the start: ${count(times.count)}${times.count === 0 ? '' : `, ${spread(counts)}, at most ${duration(times.maxMillis)}`}.`,
    )
  }
}
