import type { LivePool } from '../../src/diagnostics/live/live-data.ts'
import { count, duration, el, say } from '../shared/dom.ts'
import { Histogram, Sparkline } from './charts.ts'
import { type History, perSecond, quantile, type Sample } from './history.ts'
import { Strip } from './strip.ts'
import { holders, lately, waiters, waitLine } from './tables.ts'

type Value = (sample: Sample, before: Sample) => number | undefined

/** Between two samples: of what was counted, per second. */
const rate =
  (of: (sample: Sample) => number): Value =>
  (sample, before) =>
    perSecond(of(sample), of(before), sample.at - before.at)

const whole = (value: number): string => count(value)
const each = (value: number): string => `${value < 10 ? Number(value.toFixed(1)) : count(value)}/s`

/** One pool, from the verdict to the last trouble. */
export class PoolView {
  readonly element = el('div', { class: 'pool' })
  readonly #verdict = el('div', { class: 'verdict', role: 'status' })
  readonly #line = el('div')
  readonly #strip = new Strip()
  readonly #sparks: { line: Sparkline; value(pool: LivePool): Value }[]
  readonly #wait = new Histogram('How long acquires waited')
  readonly #use = new Histogram('How long loans lasted')
  readonly #holders = el('div')
  readonly #waiters = el('div')
  readonly #lately = el('div')
  readonly #copied = el('span', { class: 'dim', role: 'status' })
  readonly #fallback = el('textarea', { readonly: '', rows: '12', 'aria-label': 'Report' })
  #pool: LivePool | undefined

  /** @param report - the report of a pool, as text */
  constructor(report: (name: string) => Promise<string>) {
    this.#sparks = [
      { line: new Sparkline('Lent', whole), value: () => sample => sample.lent },
      { line: new Sparkline('Waiting', whole), value: () => sample => sample.waiting },
      { line: new Sparkline('Oldest wait', duration), value: () => sample => sample.oldestMillis },
      { line: new Sparkline('Wait, 99 %', duration), value: pool => waited(pool) },
      { line: new Sparkline('Acquires', each), value: () => rate(sample => sample.acquired) },
      { line: new Sparkline('Failed', each), value: () => rate(sample => sample.failed) },
      {
        line: new Sparkline('Loop blocked', value => `${duration(value)}/s`),
        value: () => rate(sample => sample.stalledMillis),
      },
    ]
    const copy = el('button', { type: 'button' }, 'Copy report')
    copy.addEventListener('click', () => void this.#copy(report))
    this.#fallback.hidden = true
    this.element.append(
      this.#verdict,
      el('p', { class: 'actions' }, copy, this.#copied),
      this.#fallback,
      this.#line,
      this.#strip.element,
      el(
        'section',
        {},
        el('h2', {}, 'The last minutes'),
        el('div', { class: 'sparks' }, ...this.#sparks.map(({ line }) => line.element)),
      ),
      el('div', { class: 'columns' }, this.#wait.element, this.#use.element),
      el('section', {}, el('h2', {}, 'Who holds connections'), this.#holders),
      el('section', {}, el('h2', {}, 'Who waits'), this.#waiters),
      el('section', {}, el('h2', {}, 'What went wrong, newest first'), this.#lately),
    )
  }

  show(pool: LivePool, history: History, now: number): void {
    this.#pool = pool
    this.#judge(pool)
    this.#line.replaceChildren(waitLine(pool))
    this.#strip.show(pool)
    const span = history.spanMillis
    for (const { line, value } of this.#sparks) line.show(history.line(value(pool)), now, span)
    this.#wait.show(pool.stats.times.wait, history.counted('wait'), span)
    this.#use.show(pool.stats.times.use, history.counted('use'), span)
    this.#holders.replaceChildren(holders(pool))
    this.#waiters.replaceChildren(waiters(pool))
    this.#lately.replaceChildren(lately(pool))
  }

  /** What it looks like, in one sentence; what else was found below it. */
  #judge({ findings, stats, waitersRead }: LivePool): void {
    const [first, ...others] = findings
    this.#verdict.className = first === undefined ? 'verdict good' : 'verdict bad'
    const state = stats.state === 'open' ? '' : ` The pool is ${stats.state}.`
    const well = `Nothing looks wrong: ${count(stats.borrowed)} of ${count(stats.max)} lent, ${
      stats.pending === 0 ? 'nobody waits' : `${count(stats.pending)} wait`
    }.${state}`
    const of =
      waitersRead === undefined || first === undefined
        ? ''
        : ` (Judged by the first ${count(waitersRead)} of ${count(stats.pending)} waiters.)`
    const [sentence, rest] =
      first === undefined ? [`\u2713 ${well}`, ''] : firstSentence(`\u26a0 ${first}${of}`)
    const more = others.map(other => el('li', {}, other))
    const text = [sentence, rest, ...others].join('\n')
    if (this.#verdict.dataset.text === text) return
    this.#verdict.dataset.text = text
    this.#verdict.replaceChildren(
      el('p', {}, sentence),
      rest === '' ? '' : el('div', {}, rest),
      more.length > 0 ? el('ul', {}, ...more) : '',
    )
  }

  async #copy(report: (name: string) => Promise<string>): Promise<void> {
    const pool = this.#pool
    if (pool === undefined) return
    try {
      const text = await report(pool.reportName)
      this.#fallback.value = text
      await navigator.clipboard.writeText(text)
      this.#fallback.hidden = true
      say(this.#copied, `Copied ${count(text.length)} characters.`)
    } catch (error) {
      // Without https, or without permission, a page may not write to the clipboard.
      const isRead = this.#fallback.value !== ''
      this.#fallback.hidden = !isRead
      this.#fallback.select()
      say(
        this.#copied,
        isRead
          ? 'The browser does not let the page copy: here it is.'
          : `There is no report: ${error instanceof Error ? error.message : error}`,
      )
    }
  }
}

function waited({ stats }: LivePool): Value {
  return (sample, before) => {
    if (sample === before) return undefined
    const counts = sample.wait.map((number, bucket) => number - (before.wait[bucket] ?? 0))
    return quantile(counts, stats.times.wait, 0.99) ?? 0
  }
}

/** The first sentence of a text, and what follows it. */
function firstSentence(text: string): [sentence: string, rest: string] {
  const end = text.search(/[.:] [A-Z]/)
  return end === -1 ? [text, ''] : [`${text.slice(0, end)}.`, text.slice(end + 2)]
}
