import { type Cell, medianOf, type Run, ratioTo, spreadOf } from './figures.ts'
import { shown } from './table.ts'

/** The rows that are drawn, by their beginning; the tables have all. */
const DRAWN = [
  'acquire+release, 1 worker, max 10',
  'acquire+release, 10 workers, max 10',
  'acquire+release, 100 workers, max 10',
  'use, 10 workers, max 10',
  'queue of 100 000: hand-off, per waiter',
  'queue of 100 000: memory of a waiter',
  'GET, 50 callers: CPU of the client',
  'GET, 50 callers: answers',
]
const COLUMNS = 2
const COLUMN = { width: 560, labels: 210, figures: 120 }
const LINE = 18
const TOP = 78
const COLOURS: Readonly<Record<string, string>> = {
  'lifeguard-pool': '#2a7d4f',
  'generic-pool': '#30638e',
  'generic-pool + ioredis': '#30638e',
}
const OTHERS = '#9aa5b1'

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

interface Canvas {
  readonly parts: string[]
}

function text({ parts }: Canvas, x: number, y: number, content: string, style = ''): void {
  parts.push(`<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${style}>${escaped(content)}</text>`)
}

/** The bars of one row, best first, from the least to the most of the rounds as a thin line. @returns its height */
function panel(canvas: Canvas, x: number, y: number, row: string, cells: readonly Cell[]): number {
  const found = cells.filter(cell => cell.row === row && cell.values.length > 0)
  const more = found[0]?.unit === '/s'
  const order = more ? -1 : 1
  const sorted = found.toSorted((a, b) => order * (medianOf(a.values) - medianOf(b.values)))
  const longest = Math.max(...sorted.map(cell => medianOf(cell.values)))
  const scale = (COLUMN.width - COLUMN.labels - COLUMN.figures) / longest
  text(canvas, x, y, `${row}${more ? ' (more is better)' : ''}`, 'font-weight="600"')
  let at = y + 8
  for (const cell of sorted) {
    const { median, least, most } = spreadOf(cell.values)
    const left = x + COLUMN.labels
    const width = Math.max(median * scale, 1)
    const colour = COLOURS[cell.contender] ?? OTHERS
    const middle = at + LINE / 2
    const bold = cell.contender === 'lifeguard-pool' ? ' font-weight="600"' : ''
    text(canvas, left - 8, middle + 4, cell.contender, `text-anchor="end"${bold}`)
    canvas.parts.push(
      `<rect x="${left}" y="${at + 3}" width="${width.toFixed(1)}" height="${LINE - 6}" rx="1" fill="${colour}"/>`,
    )
    const reach = Math.min(most, longest * 1.05) * scale
    canvas.parts.push(
      `<path d="M${(left + least * scale).toFixed(1)} ${middle}H${(left + reach).toFixed(1)}" stroke="#222"/>`,
    )
    const ratio = cell.contender === cell.base ? undefined : ratioTo(cells, cell, cell.base)?.median
    const factor = ratio === undefined ? '' : ` (${ratio.toFixed(2)}×)`
    text(canvas, left + Math.max(width, reach) + 6, middle + 4, `${shown(median, cell.unit)}${factor}`, bold)
    at += LINE
  }
  return at - y
}

/** Bars, each row on its own scale, on a card of its own white, so that it can be read on a dark page, too. */
export function chart(run: Run): string {
  const canvas: Canvas = { parts: [] }
  text(canvas, 20, 30, 'What a loan costs', 'font-size="17" font-weight="600"')
  text(
    canvas,
    20,
    50,
    `Node ${run.node}, ${run.machine}, ${run.date}; shorter is better unless said otherwise`,
  )
  const bottoms = Array.from({ length: COLUMNS }, () => TOP)
  const cells = run.cells
  for (const row of DRAWN.filter(name => cells.some(cell => cell.row === name && cell.values.length > 0))) {
    // Always into the shorter column.
    const column = bottoms.indexOf(Math.min(...bottoms))
    const y = bottoms[column] as number
    bottoms[column] = y + panel(canvas, 20 + column * (COLUMN.width + 20), y, row, cells) + 26
  }
  const height = Math.max(...bottoms)
  const width = 20 + COLUMNS * (COLUMN.width + 20)
  text(
    canvas,
    20,
    height,
    'Bars: medians over the rounds. Lines: least to most. In brackets: median of the ratios to generic-pool, round by round. Times are CPU time.',
  )
  const font = 'font-family="system-ui, -apple-system, sans-serif" font-size="12" fill="#1c2733"'
  const size = `width="${width}" height="${height + 20}" viewBox="0 0 ${width} ${height + 20}"`
  const card = '<rect width="100%" height="100%" rx="8" fill="#fff"/>'
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${font}>\n${card}\n${canvas.parts.join('\n')}\n</svg>\n`
}
