import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { aboveOf, type Cell, medianOf, ratioTo } from './figures.ts'
import { ROOT } from './results.ts'

/** How bad a figure may be. */
export interface Limit {
  readonly atMost: number
  /** `target`: what is aimed at, and met. `measured`: what was measured, and a margin. */
  readonly basis: 'target' | 'measured'
}

/** How bad a figure of ours may be. */
export interface Bound extends Limit {
  readonly scene: string
  readonly row: string
  /** Default: lifeguard-pool. */
  readonly contender?: string
  /** Bounds the ratio to this contender. */
  readonly to?: string
  /** Bounds the difference to this contender, in the unit of the row. Neither: bounds the figure itself. */
  readonly above?: string
  /** What is aimed at, if anything. */
  readonly target?: number
  /** Where a version of Node has a bound of its own, by its major. */
  readonly nodes?: Readonly<Record<string, Limit>>
}

export interface Bounds {
  readonly about: string
  readonly bounds: readonly Bound[]
}

export interface Verdict {
  readonly bound: Bound
  readonly limit: Limit
  readonly unit: string
  /** Undefined if there was nothing to judge: not measured, or given up. */
  readonly found: number | undefined
  readonly met: boolean
}

/** Beyond what was measured: the figures of two runs differ by that on a machine that does other things, too. */
const MARGIN = 1.25

const FILE = join(ROOT, 'bench/bounds.json')

export const readBounds = (): Bounds => JSON.parse(readFileSync(FILE, 'utf8')) as Bounds

export const contenderOf = (bound: Bound): string => bound.contender ?? 'lifeguard-pool'

/** The bound for a version of Node, given as `24.1.0`. */
export const limitOf = (bound: Bound, node: string): Limit => bound.nodes?.[majorOf(node)] ?? bound

const majorOf = (node: string): string => node.split('.')[0] ?? ''

export function judge(bound: Bound, cells: readonly Cell[], node: string): Verdict {
  const cell = cells.find(each => each.row === bound.row && each.contender === contenderOf(bound))
  const found = cell === undefined || cell.values.length === 0 ? undefined : figureOf(bound, cell, cells)
  const unit = bound.to === undefined ? (cell?.unit ?? '') : '×'
  // What is missing has not been shown to hold.
  const limit = limitOf(bound, node)
  return { bound, limit, unit, found, met: found !== undefined && found <= limit.atMost }
}

function figureOf(bound: Bound, cell: Cell, cells: readonly Cell[]): number | undefined {
  if (bound.to !== undefined) return ratioTo(cells, cell, bound.to)?.median
  if (bound.above !== undefined) return aboveOf(cells, cell, bound.above)?.median
  return medianOf(cell.values)
}

/** The bound that a run on a version of Node suggests: the target if it is met, else what was measured and a margin. */
export function renewed({ bound, found }: Verdict, node: string): Bound {
  if (found === undefined) return bound
  const { target } = bound
  const allowed = Number((found + Math.abs(found) * (MARGIN - 1)).toPrecision(3))
  const limit: Limit =
    target !== undefined && found <= target
      ? { atMost: target, basis: 'target' }
      : { atMost: allowed, basis: 'measured' }
  return { ...bound, nodes: { ...bound.nodes, [majorOf(node)]: limit } }
}

export function writeBounds(bounds: Bounds): void {
  writeFileSync(FILE, `${JSON.stringify(bounds, null, 2)}\n`)
}

/** What a bound is about, in one line. */
export function inWords({ row, scene, to, above, ...bound }: Bound): string {
  const [head = '', ...rest] = scene.split(': ')
  const own = rest.join(': ')
  // Not everything twice: a scene is often called what its row is.
  const what = row.includes(scene) ? row : row.startsWith(own) ? `${head}: ${row}` : `${scene}: ${row}`
  const beside = to !== undefined ? `, to ${to}` : above !== undefined ? `, above ${above}` : ''
  return `${what}${bound.contender === undefined ? '' : ` (${bound.contender})`}${beside}`
}
