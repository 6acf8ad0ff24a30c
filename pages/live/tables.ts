import type { LiveGroup, LivePool } from '../../src/diagnostics/live/live-data.ts'
import { count, duration, el } from '../shared/dom.ts'

/** Acquires whose stack was not recorded. */
const UNRECORDED = 'call site not recorded (see captureStacks)'

function table(heads: readonly string[], rows: readonly (readonly string[])[]): HTMLElement {
  const head = el('tr', {}, ...heads.map(each => el('th', { scope: 'col' }, each)))
  const body = rows.map(row => el('tr', {}, ...row.map(cell => el('td', {}, cell))))
  return el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, head), el('tbody', {}, ...body)))
}

const notes = ({ atWork, forgotten, nested, count: all, command }: LiveGroup): string =>
  [
    atWork > 0 ? `${count(atWork)} at work${command === undefined ? '' : ` (${command})`}` : '',
    forgotten > 0 ? `${count(forgotten)} look${forgotten === 1 ? 's' : ''} forgotten` : '',
    nested > 0 ? `${nested === all ? 'all' : count(nested)} inside another loan` : '',
  ]
    .filter(each => each !== '')
    .join(', ')

const site = (text: string | undefined): string =>
  text === undefined ? UNRECORDED : text.replace(/^at /, '').replace('file://', '')

/** Who holds connections, by call site. */
export function holders({ holders: { groups, more } }: LivePool): HTMLElement {
  if (groups.length === 0) return el('p', { class: 'dim' }, 'Nobody holds a connection.')
  const rows = groups.map(group => [
    count(group.count),
    duration(group.longestMillis),
    site(group.site),
    notes(group),
  ])
  if (more > 0) rows.push([count(more), '', 'from other places', ''])
  return table(['lent', 'longest', 'taken at', ''], rows)
}

/** Who is served next, and from where the others come. */
export function waiters({ next, stats, waiters: { groups }, waitersRead }: LivePool): HTMLElement {
  if (stats.pending === 0) return el('p', { class: 'dim' }, 'Nobody waits.')
  const rows = next.map(({ waitedMillis, leftMillis, priority, site: from, nestedUnder }) => [
    duration(waitedMillis),
    leftMillis === null ? 'no deadline' : duration(Math.max(leftMillis, 0)),
    site(from),
    [
      priority === 0 ? '' : `priority ${priority}`,
      nestedUnder === undefined ? '' : `inside a loan of ${nestedUnder.join(', ')}`,
    ]
      .filter(each => each !== '')
      .join(', '),
  ])
  const others = groups.map(group => `${count(group.count)} ${site(group.site)}`).slice(0, 6)
  return el(
    'div',
    {},
    table(['waits for', 'time left', 'called at', ''], rows),
    el(
      'p',
      { class: 'dim' },
      `${waitersRead === undefined ? 'By call site' : `The first ${count(waitersRead)} by call site`}: ${others.join('; ')}.`,
    ),
  )
}

/** What went wrong last. */
export function lately({ lately: problems }: LivePool): HTMLElement {
  if (problems.length === 0) return el('p', { class: 'dim' }, 'Nothing has gone wrong.')
  const items = problems.map(({ what, times, agoMillis }) =>
    el(
      'li',
      {},
      el(
        'span',
        { class: 'dim' },
        `${duration(agoMillis)} ago${times > 1 ? `, ${count(times)} times` : ''}: `,
      ),
      what,
    ),
  )
  return el('ul', { class: 'lately' }, ...items)
}

const MOST_FIGURES = 60

/** The waiting acquires as a line: one mark each as long as they fit, more of them as a number. */
export function waitLine({ stats, next }: LivePool): HTMLElement {
  const { pending, oldestWaitMillis, max } = stats
  const marks = Array.from({ length: Math.min(pending, MOST_FIGURES) }, () => el('i', { class: 'mark' }))
  const left = next.reduce((least, { leftMillis }) => Math.min(least, leftMillis ?? Infinity), Infinity)
  const words =
    pending === 0
      ? 'nobody waits'
      : `${count(pending)} wait${pending === 1 ? 's' : ''} for ${count(max)} connection${max === 1 ? '' : 's'}, the longest for ${duration(oldestWaitMillis)}` +
        (Number.isFinite(left) ? `; the next deadline is in ${duration(Math.max(left, 0))}` : '')
  return el(
    'div',
    { class: pending === 0 ? 'line' : 'line busy' },
    el(
      'div',
      { class: 'marks', 'aria-hidden': 'true' },
      ...marks,
      pending > MOST_FIGURES && `+${count(pending - MOST_FIGURES)}`,
    ),
    el('span', {}, words),
  )
}
