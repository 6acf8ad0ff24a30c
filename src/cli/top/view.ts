import type { PoolStats } from '../../api/stats.ts'
import { clean } from '../printable.ts'
import { cut, cutStart, type Painter, padded, right, short, time, width } from './cells.ts'
import type { PoolLook } from './history.ts'
import { holdersOf } from './holders.ts'

/** What is shown below the list of pools: a bit of all, or one thing on all lines. */
export type Page = 'all' | 'holders' | 'events'

/** All that the view is made from. */
export interface TopModel {
  /** The process or the address. */
  readonly what: string
  readonly pools: readonly PoolLook[]
  /** The index of the pool that is shown in detail. */
  readonly selected: number
  readonly page: Page
  /** The time of day of the last answer, as text. */
  readonly asOf: string
  /** Set while there is no answer: since when, in milliseconds, or why not. */
  readonly trouble?: string | undefined
  /** Are keys read? */
  readonly isLive: boolean
}

export interface Size {
  readonly columns: number
  /** `Infinity` where lines are printed once. */
  readonly rows: number
}

/** Draws everything: at most `rows` lines, none longer than `columns` cells. */
export function linesOf(model: TopModel, { columns, rows }: Size, paint: Painter): string[] {
  const { pools, isLive, page } = model
  const selected = Math.min(Math.max(model.selected, 0), Math.max(pools.length - 1, 0))
  const look = pools[selected]
  const head = titleOf(model, columns, paint)
  const foot = isLive && rows > 2 ? [paint('dim', cut(KEYS, columns))] : []
  const room = rows - head.length - foot.length
  if (look === undefined) {
    const none = ['There is no pool in this process, or none any more.'].map(line => cut(line, columns))
    return [...head, ...none.slice(0, Math.max(room, 0)), ...foot].slice(0, rows)
  }
  // The list may take half of the lines.
  const list = listOf(pools, selected, columns, Math.max(Math.floor(room / 2), Math.min(room, 2)), paint)
  const left = room - list.length
  const detail =
    page === 'holders'
      ? holdersPage(look, columns, left, paint)
      : page === 'events'
        ? eventsPage(look, columns, left, paint)
        : overview(look, columns, left, paint)
  const body = [...list, ...detail].slice(0, Math.max(room, 0))
  const gap = Number.isFinite(rows) && isLive ? Math.max(room - body.length, 0) : 0
  return [...head, ...body, ...Array.from({ length: gap }, () => ''), ...foot].slice(0, rows)
}

const KEYS = '↑ ↓ pool   h holders   e events   a all   q quit'

function titleOf({ what, pools, asOf, trouble }: TopModel, columns: number, paint: Painter): string[] {
  const many = pools.length === 1 ? '1 pool' : `${pools.length} pools`
  const text = `lifeguard-pool top  ${clean(what)}  ${many}  ${asOf}`
  if (trouble === undefined) return [paint('title', padded(text, columns))]
  return [paint('bad', padded(`${clean(trouble)}  ${text}`, columns))]
}

/** Columns of the list, from the most to the least important; those that do not fit are left out. */
const COLUMNS: readonly (readonly [title: string, cells: number, of: (look: PoolLook) => string])[] = [
  ['LENT', 9, ({ report: { stats } }) => `${short(stats.borrowed)}/${short(stats.max)}`],
  ['WAIT', 5, ({ report: { stats } }) => short(stats.pending)],
  ['OLDEST', 7, ({ report: { stats } }) => (stats.pending > 0 ? time(stats.oldestWaitMillis) : '-')],
  ['IDLE', 5, ({ report: { stats } }) => short(stats.idle)],
  ['P99', 7, ({ wait }) => time(wait?.p99)],
  ['P50', 7, ({ wait }) => time(wait?.p50)],
  ['ACQ/S', 6, ({ rate }) => short(rate)],
  ['MAKING', 7, ({ report: { stats } }) => short(stats.connecting)],
  ['STATE', 9, ({ report: { stats } }) => stateOf(stats)],
]
const LEAST_NAME = 10
const MOST_NAME = 28

const stateOf = ({ state, breaker }: PoolStats): string =>
  state === 'open' && breaker === 'open' ? 'breaker' : state

function listOf(
  pools: readonly PoolLook[],
  selected: number,
  columns: number,
  most: number,
  paint: Painter,
): string[] {
  const shown: (typeof COLUMNS)[number][] = []
  let left = columns - 1 - LEAST_NAME
  for (const column of COLUMNS) {
    if (column[1] > left) break
    left -= column[1]
    shown.push(column)
  }
  const name = Math.min(LEAST_NAME + left, MOST_NAME)
  const titles = ` ${padded('POOL', name)}${shown.map(([title, cells]) => right(title, cells)).join('')}`
  const rows = Math.max(most - 1, 1)
  // The one that is selected stays in sight.
  const from = Math.max(Math.min(selected - Math.floor(rows / 2), pools.length - rows), 0)
  const lines = pools.slice(from, from + rows).map((look, index) => {
    const isSelected = from + index === selected
    const { stats } = look.report
    const cells = shown.map(([, cell, of]) => right(of(look), cell)).join('')
    const line = cut(`${isSelected ? '>' : ' '}${padded(clean(stats.name), name)}${cells}`, columns)
    return healthOf(look) === 'good' ? line : paint(healthOf(look), line)
  })
  return [paint('dim', cut(titles, columns)), ...lines].slice(0, most)
}

function healthOf({ report: { stats, leases } }: PoolLook): 'good' | 'warn' | 'bad' {
  if (stats.breaker === 'open' || (stats.pending > 0 && stats.oldestWaitMillis >= 1000)) return 'bad'
  return stats.pending > 0 || leases.some(({ suspect }) => suspect) ? 'warn' : 'good'
}

function overview(look: PoolLook, columns: number, rows: number, paint: Painter): string[] {
  const { report, wait, rate } = look
  const { stats, findings } = report
  const times = wait === undefined ? '' : `, half within ${time(wait.p50)}, 99 % within ${time(wait.p99)}`
  const lines = [
    ...(rows > 6 ? [''] : []),
    strip(stats, columns, paint),
    cut(slotsInWords(stats), columns),
    cut(
      `${short(stats.pending)} wait${stats.pending > 0 ? `, the oldest for ${time(stats.oldestWaitMillis)}` : ''}${times}` +
        `${rate === undefined ? '' : `; ${short(rate)} acquires/s`}`,
      columns,
    ),
  ]
  let left = rows - lines.length
  const said = findings.flatMap(finding => wrapped(clean(finding), columns - 2)).map(line => `  ${line}`)
  const holders = holderLines(look, columns)
  const events = eventLines(look, columns)
  // What is wrong may take a half of what is left; of the rest, holders and events take a half each.
  for (const [title, all, paintOf, share] of [
    ['findings', said, 'warn', 0.5],
    ['oldest leases, by call site', holders, undefined, 0.5],
    ['lately', events, undefined, 1],
  ] as const) {
    const room = Math.min(all.length + 1, Math.max(Math.floor(left * share), Math.min(left, 3)))
    if (all.length === 0 || room < 2) continue
    lines.push(paint('dim', cut(title, columns)))
    lines.push(
      ...fitted(all, room - 1, columns).map(line => (paintOf === undefined ? line : paint(paintOf, line))),
    )
    left -= room
  }
  return lines
}

function holdersPage(look: PoolLook, columns: number, rows: number, paint: Painter): string[] {
  const lines = holderLines(look, columns)
  const title = `${look.report.leases.length} leases of ${clean(look.report.stats.name)}, by call site, the oldest first`
  return [paint('dim', cut(title, columns)), ...fitted(lines, rows - 1, columns)]
}

function eventsPage(look: PoolLook, columns: number, rows: number, paint: Painter): string[] {
  const title = `${clean(look.report.stats.name)} lately, newest first`
  return [paint('dim', cut(title, columns)), ...fitted(eventLines(look, columns), rows - 1, columns)]
}

/** So many of the lines, and how many more there are. */
function fitted(lines: readonly string[], rows: number, columns: number): string[] {
  if (lines.length <= rows) return [...lines]
  if (rows <= 0) return []
  if (rows === 1) return lines.slice(0, 1)
  return [...lines.slice(0, rows - 1), cut(`  … ${lines.length - rows + 1} more`, columns)]
}

function holderLines({ report }: PoolLook, columns: number): string[] {
  return holdersOf(report.leases).map(({ site, count, heldMillis, doing }) => {
    const start = `  ${right(time(heldMillis), 7)} ${right(`${count}×`, 6)} ${padded(clean(doing), 12)} `
    return cut(start + cutStart(clean(site), columns - width(start)), columns)
  })
}

function eventLines({ report: { troubles, stalls } }: PoolLook, columns: number): string[] {
  return [
    ...troubles,
    ...stalls.map(({ agoMillis, millis }) => ({
      ...{ agoMillis, times: 1, what: `the event loop was blocked for ${time(millis)}` },
    })),
  ]
    .sort((a, b) => a.agoMillis - b.agoMillis)
    .map(({ agoMillis, times, what }) => {
      const start = `  ${right(time(agoMillis), 7)} ago ${times > 1 ? `${short(times)}× ` : ''}`
      return cut(start + clean(what.split('\n', 1)[0] ?? ''), columns)
    })
}

const SLOTS = [
  ['borrowed', 'lent', '█', 'busy'],
  ['idle', 'idle', '░', 'good'],
  ['validating', 'being validated', 'v', 'warn'],
  ['resetting', 'being reset', 'r', 'warn'],
  ['connecting', 'being created', '+', 'warn'],
  ['closing', 'closing', 'x', 'dim'],
] as const

/** One sign for each slot, or for several where they do not fit. */
function strip(stats: PoolStats, columns: number, paint: Painter): string {
  const used = SLOTS.reduce((sum, [state]) => sum + stats[state], 0)
  const all = Math.max(used, stats.max, 1)
  const most = Math.max(columns - 2, 1)
  const scale = Math.min(1, most / all)
  let cells = 0
  let from = 0
  const parts = SLOTS.map(([state, , sign, colour]) => {
    const to = from + stats[state]
    // What there is at all gets a sign, while there is room.
    const many = Math.max(Math.round(to * scale) - Math.round(from * scale), Math.min(stats[state], 1))
    from = to
    const fitting = Math.min(many, most - cells)
    cells += fitting
    return paint(colour, sign.repeat(fitting))
  })
  const free = Math.max(Math.min(Math.round(all * scale), most) - cells, 0)
  return `${cut('[', columns)}${parts.join('')}${paint('dim', '·'.repeat(free))}${columns > 1 ? ']' : ''}`
}

function slotsInWords(stats: PoolStats): string {
  const parts = SLOTS.filter(([state]) => stats[state] > 0 || state === 'borrowed' || state === 'idle')
  return `max ${short(stats.max)}: ${parts.map(([state, words]) => `${short(stats[state])} ${words}`).join(', ')}`
}

/** Words in lines of so many cells. Longer words are cut. */
function wrapped(text: string, cells: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && width(line) + 1 + width(word) > cells) {
      lines.push(line)
      line = ''
    }
    line = cut(line === '' ? word : `${line} ${word}`, cells)
  }
  return [...lines, line]
}
