import { medianOf, type Run } from './figures.ts'
import { shown } from './table.ts'

/* One picture for the README: what a loan costs on each version of Node, beside other pools. */

const ROWS: readonly (readonly [row: string, title: string])[] = [
  ['acquire+release, 10 workers, max 10', 'acquire and release'],
  ['use, 10 workers, max 10', 'use'],
]
const BARS: readonly (readonly [contender: string, colour: string])[] = [
  ['lifeguard-pool', '#2a7d4f'],
  ['generic-pool', '#30638e'],
  ['generic-pool + timeout', '#7d9bb8'],
  ['lightning-pool', '#b6bec7'],
]
const PANEL = { width: 450, gap: 40, height: 210 }
const LEFT = 20
const TOP = 100
const BAR = 20

const text = (x: number, y: number, content: string, style = ''): string =>
  `<text x="${x}" y="${y}" ${style}>${content}</text>`

function panel(runs: readonly Run[], row: string, title: string, x: number): string[] {
  const nanos = (run: Run, contender: string): number =>
    medianOf(run.cells.find(cell => cell.row === row && cell.contender === contender)?.values ?? [])
  const all = runs.flatMap(run => BARS.map(([contender]) => nanos(run, contender))).filter(Number.isFinite)
  const scale = (PANEL.height - 30) / Math.max(...all)
  const step = PANEL.width / runs.length
  const floor = TOP + PANEL.height
  const bars = runs.flatMap((run, version) =>
    BARS.flatMap(([contender, colour], place) => {
      const value = nanos(run, contender)
      if (!Number.isFinite(value)) return []
      const left = Math.round(x + version * step + place * (BAR + 3))
      const height = Math.round(value * scale)
      const label = shown(value, 'ns').replace(/\D+$/, '')
      const style = `text-anchor="middle" font-size="10"${place === 0 ? ' font-weight="700"' : ''}`
      return [
        `<rect x="${left}" y="${floor - height}" width="${BAR}" height="${height}" rx="2" fill="${colour}"/>`,
        text(left + BAR / 2, floor - height - 4, label, style),
      ]
    }),
  )
  const names = runs.map((run, version) =>
    text(
      Math.round(x + version * step + 2 * BAR + 4),
      floor + 18,
      `Node ${run.node.split('.', 1)[0]}`,
      'text-anchor="middle"',
    ),
  )
  return [text(x, TOP - 14, `${title}, ns of CPU time`, 'font-weight="600"'), ...bars, ...names]
}

/** @param runs - one for each version of Node */
export function nodesChart(runs: readonly Run[]): string {
  const width = 2 * LEFT + ROWS.length * PANEL.width + PANEL.gap
  const height = TOP + PANEL.height + 52
  const legend = BARS.flatMap(([contender, colour], place) => [
    `<rect x="${LEFT + place * 190}" y="49" width="12" height="12" rx="2" fill="${colour}"/>`,
    text(LEFT + place * 190 + 18, 59, contender),
  ])
  const machine = runs[0] === undefined ? '' : `${runs[0].machine}, ${runs[0].date}`
  const parts = [
    text(LEFT, 30, 'What a loan costs, all guards on; shorter is better', 'font-size="17" font-weight="600"'),
    ...legend,
    ...ROWS.flatMap(([row, title], place) =>
      panel(runs, row, title, LEFT + place * (PANEL.width + PANEL.gap)),
    ),
    text(
      LEFT,
      height - 12,
      `Ten workers on ten connections; medians. ${machine}`,
      'font-size="11" fill="#5b6670"',
    ),
  ]
  const font = 'font-family="system-ui, -apple-system, sans-serif" font-size="12" fill="#1c2733"'
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ${font}>
<rect width="100%" height="100%" rx="8" fill="#fff"/>
${parts.join('\n')}
</svg>
`
}
