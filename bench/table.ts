/** The median of one contender in one scene. */
export interface Measured {
  readonly scene: string
  readonly contender: string
  readonly unit: 'ns' | 'ms' | 'B'
  readonly median: number
  readonly least: number
  readonly most: number
  /** To the median of generic-pool in the same run. */
  readonly ratio: number | undefined
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length === 0) return Number.NaN
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

const show = ({ median, unit, ratio }: Measured): string => {
  const value = median >= 100 ? median.toFixed(0) : median.toFixed(1)
  return `${value} ${unit}${ratio === undefined ? '' : ` (${ratio.toFixed(2)}×)`}`
}

/** Scenes down, contenders across, as Markdown. */
export function table(measured: readonly Measured[]): string {
  const scenes = [...new Set(measured.map(each => each.scene))]
  const contenders = [...new Set(measured.map(each => each.contender))]
  const rows = scenes.map(scene => [
    scene,
    ...contenders.map(contender => {
      const found = measured.find(each => each.scene === scene && each.contender === contender)
      return found === undefined ? '' : show(found)
    }),
  ])
  const lines = [['', ...contenders], ...rows]
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map(line => line[column]?.length ?? 0))) ?? []
  const drawn = lines.map(
    line => `| ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`,
  )
  drawn.splice(1, 0, `| ${widths.map(width => '-'.repeat(width)).join(' | ')} |`)
  return `${drawn.join('\n')}\n`
}
