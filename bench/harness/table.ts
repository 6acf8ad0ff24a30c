import { type Cell, medianOf, type Run, ratioTo } from './figures.ts'

/** A figure as a person reads it: no more digits than it deserves. */
export function shown(value: number, unit: string): string {
  const [size, name] =
    unit === 'ns' && value >= 10_000
      ? [value / 1000, 'µs']
      : unit === 'B' && value >= 100_000
        ? [value / 1024, 'KiB']
        : [value, unit]
  const digits =
    Math.abs(size) >= 100 || (unit === '' && Number.isInteger(size)) ? 0 : Math.abs(size) >= 10 ? 1 : 2
  const text = size.toFixed(digits).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ' ')
  return name === ''
    ? text
    : name === '×' || name === '/s' || name === '%'
      ? `${text}${name}`
      : `${text} ${name}`
}

export interface Style {
  /** Least and most ratio over the rounds beside the median. */
  readonly spread: boolean
}

function content(cell: Cell, cells: readonly Cell[], { spread }: Style): string {
  if (cell.failed !== undefined) return cell.failed
  const value = shown(medianOf(cell.values), cell.unit)
  const ratio = cell.contender === cell.base ? undefined : ratioTo(cells, cell, cell.base)
  if (ratio === undefined || cell.unit === '×') return value
  const [median, least, most] = [ratio.median, ratio.least, ratio.most].map(each => each.toFixed(2))
  return spread && least !== most ? `${value} (${median}×, ${least}–${most})` : `${value} (${median}×)`
}

/** Rows down, contenders across, as Markdown. */
export function table(cells: readonly Cell[], style: Style): string {
  const rows = [...new Set(cells.map(each => each.row))]
  const contenders = [...new Set(cells.map(each => each.contender))]
  return markdown([
    ['', ...contenders],
    ...rows.map(row => [
      row,
      ...contenders.map(contender => {
        const found = cells.find(each => each.row === row && each.contender === contender)
        return found === undefined ? '' : content(found, cells, style)
      }),
    ]),
  ])
}

export function markdown(lines: readonly (readonly string[])[]): string {
  const widths =
    lines[0]?.map((_, column) => Math.max(3, ...lines.map(line => line[column]?.length ?? 0))) ?? []
  const drawn = lines.map(
    line => `| ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`,
  )
  drawn.splice(
    1,
    0,
    `| ${widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`,
  )
  return `${drawn.join('\n')}\n`
}

/** A table for each group, under its name. */
export function tables(cells: readonly Cell[], style: Style, heading = '###'): string {
  const groups = [...new Set(cells.map(cell => cell.group))]
  return groups
    .map(
      group =>
        `${heading} ${group}\n\n${table(
          cells.filter(cell => cell.group === group),
          style,
        )}`,
    )
    .join('\n')
}

/** What each contender costs on each version of Node: ratio to generic-pool of the same run, and the figure. */
export function nodesTable(runs: readonly Run[], contender = 'lifeguard-pool'): string {
  const rows = [...new Set(runs.flatMap(run => run.cells.map(cell => cell.row)))]
  return markdown([
    [contender, ...runs.map(run => `Node ${run.node}`)],
    ...rows.map(row => [
      row,
      ...runs.map(({ cells }) => {
        const cell = cells.find(each => each.row === row && each.contender === contender)
        return cell === undefined ? '' : content(cell, cells, { spread: false })
      }),
    ]),
  ])
}
