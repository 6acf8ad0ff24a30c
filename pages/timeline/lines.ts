import { type Bar, groupsOf } from '../../src/cli/timeline/rows.ts'
import type { Timeline, TimelineMark } from '../../src/diagnostics/timeline/timeline.ts'
import { count } from '../shared/dom.ts'

const MOST_LANES = 200

/** A line of the picture: a heading, or a row of bars. */
export interface Line {
  readonly heading?: string
  readonly label?: string
  readonly bars: readonly Bar[]
  readonly marks: readonly TimelineMark[]
}

/** What the picture consists of, from top to bottom. */
export function linesOf(timeline: Timeline): Line[] {
  const groups = groupsOf(timeline, MOST_LANES)
  return groups.flatMap(({ name, max, connections, failed, waits, moreWaits, marks }): Line[] => {
    if (connections.length + failed.length + waits.length + marks.length === 0) return []
    const more = moreWaits > 0 ? `, ${count(moreWaits)} more that were too many at a time` : ''
    return [
      { heading: `${name}: at most ${count(max)} connection${max === 1 ? '' : 's'}`, bars: [], marks },
      ...connections,
      ...failed.map(row => ({ ...row, label: 'failed' })),
      ...(waits.length === 0
        ? []
        : [{ heading: `acquires that wait${more}`, bars: [], marks: [] }, ...waits]),
      { bars: [], marks: [] },
    ]
  })
}

/** The first bar that ends after a moment. They are in order. */
export function firstWithin(bars: readonly Bar[], from: number): number {
  let [low, high] = [0, bars.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((bars[middle] as Bar).to < from) low = middle + 1
    else high = middle
  }
  return low
}
