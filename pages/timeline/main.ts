import { WORDS } from '../../src/cli/timeline/looks.ts'
import { millisInWords, WHAT } from '../../src/cli/timeline/rows.ts'
import type { Timeline } from '../../src/diagnostics/timeline/timeline.ts'
import { count, el, say } from '../shared/dom.ts'
import { Chart } from './chart.ts'
import { legendOf, legendOfMark } from './paint.ts'

/*
 * The page of a recorded timeline: bars over time that can be zoomed, and below them what happened, in order.
 */

const MOST_LISTED = 500

const timeline = JSON.parse(document.getElementById('timeline')?.textContent ?? '') as Timeline
const words = el('p', { class: 'pointed', 'aria-live': 'polite' })
const range = el('span', { class: 'dim', role: 'status' })
const chart = new Chart(timeline)

chart.onPoint = text => say(words, text)
chart.onRange = (from, to) =>
  say(range, `${millisInWords(from)} to ${millisInWords(to)} of ${millisInWords(timeline.millis)}`)

const button = (label: string, run: () => void): HTMLButtonElement => {
  const made = el('button', { type: 'button' }, label)
  made.addEventListener('click', run)
  return made
}

const { dropped, pools, spans, waits, marks, stalls } = timeline
const lost = dropped.spans + dropped.waits + dropped.marks
const summary = [
  `${count(pools.length)} pool${pools.length === 1 ? '' : 's'}`,
  `${count(new Set(spans.map(({ pool, connection }) => `${pool}.${connection}`)).size)} connections`,
  `${count(waits.length)} acquires that waited`,
  `the event loop was blocked ${stalls.length === 0 ? 'never' : stalls.length === 1 ? 'once' : `${count(stalls.length)} times`}`,
]

document.body.replaceChildren(
  el(
    'header',
    {},
    el('h1', {}, 'What the connections did'),
    el(
      'span',
      { class: 'dim' },
      `${millisInWords(timeline.millis)} from ${timeline.startedAt}: ${summary.join(', ')}`,
    ),
  ),
  (lost > 0 &&
    el(
      'p',
      { class: 'lost' },
      `${count(lost)} records did not fit into the recording, the oldest of them. It is complete from ${millisInWords(dropped.completeFrom)} on.`,
    )) ||
    '',
  el(
    'p',
    { class: 'actions' },
    button('Zoom in', () => chart.zoom(0.5)),
    button('Zoom out', () => chart.zoom(2)),
    button('All', () => chart.all()),
    range,
  ),
  chart.element,
  words,
  el(
    'ul',
    { class: 'legend' },
    ...(Object.keys(WORDS) as (keyof typeof WORDS)[]).map(look => el('li', {}, legendOf(look), WORDS[look])),
    el('li', {}, legendOfMark(), 'something happened: told below'),
  ),
  el(
    'p',
    { class: 'dim' },
    'Drag to move, Ctrl and the wheel to zoom. Keys on the picture: arrows go from bar to bar and from row to row, ' +
      '+ and − zoom, 0 shows all.',
  ),
  el('h2', {}, 'What happened'),
  happened(),
)
chart.all()

/** The marks as a list. A click shows the place. */
function happened(): HTMLElement {
  if (marks.length === 0) return el('p', { class: 'dim' }, 'Nothing out of the ordinary.')
  const items = marks.slice(0, MOST_LISTED).map(({ pool, at, what, words: said }) => {
    const jump = button(millisInWords(at), () => chart.show(at))
    const name = pools.length > 1 ? `${pools[pool]?.name ?? ''}: ` : ''
    return el('li', {}, jump, el('span', {}, el('strong', {}, `${name}${WHAT[what]}: `), said))
  })
  const more = marks.length - items.length
  return el('ol', { class: 'happened' }, ...items, more > 0 && el('li', {}, `and ${count(more)} more`))
}
