import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chart } from './chart.ts'
import { type Cell, medianOf, type Run, ratioTo } from './figures.ts'
import { nodesChart } from './nodes-chart.ts'
import { ROOT, resultsOf } from './results.ts'
import { markdown, nodesTable, shown, tables } from './table.ts'

/** The rows of the README, and what its columns are called. */
const SHORT: readonly (readonly [heading: string, row: string])[] = [
  ['1 worker', 'acquire+release, 1 worker, max 10'],
  ['10 workers', 'acquire+release, 10 workers, max 10'],
  ['100 workers', 'acquire+release, 100 workers, max 10'],
  ['`use`, 10 workers', 'use, 10 workers, max 10'],
  ['memory of a waiter', 'queue of 100 000: memory of a waiter'],
]

function short(cell: Cell | undefined, cells: readonly Cell[]): string {
  if (cell === undefined || cell.values.length === 0) return cell?.failed ?? ''
  const ratio = cell.contender === cell.base ? undefined : ratioTo(cells, cell, cell.base)
  return `${shown(medianOf(cell.values), cell.unit)}${ratio === undefined ? '' : ` (${ratio.median.toFixed(2)}×)`}`
}

/** The rows of the README that have a column for each version of Node. */
const BY_NODE = [
  'acquire+release, 1 worker, max 10',
  'acquire+release, 10 workers, max 10',
  'acquire+release, 100 workers, max 10',
  'use, 10 workers, max 10',
  'first 100 000 loans: acquire+release, 10 workers, max 10',
  'an await beside a pool that is in use',
]

/** Contenders down: a page of GitHub is narrow. */
function shortTable({ cells }: Run): string {
  const contenders = [
    ...new Set(cells.filter(({ row }) => row === SHORT[0]?.[1]).map(each => each.contender)),
  ]
  return markdown([
    ['acquire+release, max 10', ...SHORT.map(([heading]) => heading)],
    ...contenders.map(contender => [
      contender === 'lifeguard-pool' ? `**${contender}**` : contender,
      ...SHORT.map(([, row]) =>
        short(
          cells.find(cell => cell.row === row && cell.contender === contender),
          cells,
        ),
      ),
    ]),
  ])
}

/** How far the rounds of a run lie apart: the reader's measure for every figure. */
function noise({ cells }: Run): string {
  const ratios = cells
    .filter(cell => cell.unit === 'ns' && cell.contender !== cell.base && cell.values.length > 2)
    .flatMap(cell => ratioTo(cells, cell, cell.base) ?? [])
  const spreads = ratios.map(({ median, least, most }) => (most - least) / 2 / median)
  return `±${(medianOf(spreads) * 100).toFixed(0)} %`
}

function machineOf(run: Run): string {
  const packages = Object.entries(run.versions).map(([name, version]) => `${name} ${version}`)
  return (
    `Node ${run.node}, ${run.machine}, ${run.date}; ${packages.join(', ')}. ` +
    `Half the way from the least to the most ratio of a cell: ${noise(run)} (median over the cells in ns).\n`
  )
}

/** Puts new text between `<!-- name -->` and `<!-- /name -->`. */
function replaced(page: string, name: string, content: string): string {
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const [from, to] = [page.indexOf(start), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`no ${start} … ${end}`)
  return `${page.slice(0, from + start.length)}\n\n${content.trim()}\n\n${page.slice(to)}`
}

export function rewrite(file: string, parts: Readonly<Record<string, string>>): void {
  const path = join(ROOT, file)
  let page = readFileSync(path, 'utf8')
  for (const [name, content] of Object.entries(parts)) page = replaced(page, name, content)
  writeFileSync(path, page)
  process.stdout.write(`${file} rewritten\n`)
}

/** Puts the last run with `--nodes` into the documents. */
export function writeNodes(): void {
  const runs = resultsOf('nodes')
  rewrite('docs/performance.md', { 'bench:nodes': nodesTable(runs) })
  const chosen = runs.map(run => ({ ...run, cells: run.cells.filter(({ row }) => BY_NODE.includes(row)) }))
  rewrite('README.md', { 'bench:nodes': nodesTable(chosen) })
  writeFileSync(join(ROOT, 'docs/nodes.svg'), nodesChart(runs))
}

/** Puts the last whole run into the documents. */
export function writeDocs(): void {
  const run = resultsOf('latest').at(-1)
  if (run === undefined) throw new Error('bench/results/latest.json is empty')
  const machine = machineOf(run)
  rewrite('README.md', {
    'bench:short': `${shortTable(run)}\n${machine}`,
  })
  rewrite('docs/performance.md', {
    'bench:machine': machine,
    'bench:full': tables(run.cells, { spread: true }),
  })
  writeFileSync(join(ROOT, 'docs/bench.svg'), chart(run))
}
