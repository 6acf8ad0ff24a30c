import type { Unit } from '../scenes/scene.ts'

/** What one contender showed in one row. */
export interface Cell {
  readonly group: string
  readonly row: string
  readonly contender: string
  readonly unit: Unit
  /** The contender that the ratio is formed to. */
  readonly base: string
  /** One for each round; empty if the contender was given up. */
  readonly values: readonly number[]
  /** The same by the clock on the wall, where the values are CPU time. */
  readonly walls?: readonly number[]
  /** Why there are no values. */
  readonly failed?: string
}

/** All that was measured on one version of Node. */
export interface Run {
  readonly node: string
  readonly machine: string
  readonly date: string
  readonly quick: boolean
  readonly versions: Readonly<Record<string, string>>
  readonly cells: readonly Cell[]
}

/** Cells with the rounds that were measured of them later, which are of the same rows and contenders. */
export function withRounds(cells: readonly Cell[], later: readonly Cell[]): Cell[] {
  return cells.map(cell => {
    const more = later.find(({ row, contender }) => row === cell.row && contender === cell.contender)
    if (more === undefined) return cell
    const walls = [...(cell.walls ?? []), ...(more.walls ?? [])]
    return { ...cell, values: [...cell.values, ...more.values], ...(walls.length > 0 && { walls }) }
  })
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length === 0) return Number.NaN
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

export interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: medianOf(values), least: Math.min(...values), most: Math.max(...values) }
}

/** What `compare` says of the values of two contenders, round by round. */
function paired(
  cells: readonly Cell[],
  cell: Cell,
  other: string,
  compare: (own: number, others: number) => number,
): Spread | undefined {
  const base = cells.find(each => each.row === cell.row && each.contender === other)
  if (base === undefined) return undefined
  // Of the same round, in which the machine was as busy for the one as for the other.
  const values = cell.values.flatMap((value, round) => {
    const others = base.values[round]
    return others === undefined ? [] : [compare(value, others)]
  })
  const usable = values.filter(Number.isFinite)
  return usable.length === 0 ? undefined : spreadOf(usable)
}

/** The ratio to another contender: the median over the rounds, and the least and the most. */
export const ratioTo = (cells: readonly Cell[], cell: Cell, other: string): Spread | undefined =>
  paired(cells, cell, other, (own, others) => own / others)

/** How much more than another contender, in the unit of the row. */
export const aboveOf = (cells: readonly Cell[], cell: Cell, other: string): Spread | undefined =>
  paired(cells, cell, other, (own, others) => own - others)
