import type { Inspector } from './inspector.ts'

/** From one sample to the next. Microseconds. */
const INTERVAL = 1000
const MOST_GAP = 3 * INTERVAL
/** Frames of one place that are named. */
const MOST_FRAMES = 6

interface ProfileNode {
  readonly id: number
  readonly callFrame: { functionName: string; url: string; lineNumber: number; columnNumber: number }
  readonly children?: readonly number[]
}

interface Profile {
  readonly nodes: readonly ProfileNode[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** The longest time that the process was in one function without a pause, and where in it most of that went. */
export interface BusiestStretch {
  readonly millis: number
  /** From the innermost function outwards. */
  readonly stack: readonly string[]
}

/** Has V8 take samples of a process while something else is done. */
export async function profiled<R>(
  inspector: Inspector,
  meanwhile: () => Promise<R>,
): Promise<[result: R, stretch: BusiestStretch | undefined]> {
  await inspector.call('Profiler.enable')
  await inspector.call('Profiler.setSamplingInterval', { interval: INTERVAL })
  await inspector.call('Profiler.start')
  let result: R
  let answer: { profile?: unknown } = {}
  try {
    result = await meanwhile()
  } finally {
    answer = await inspector.call('Profiler.stop')
    await inspector.call('Profiler.disable')
  }
  return [result, busiestStretch(answer.profile as Profile)]
}

const isOfProgram = (url: string): boolean => url !== '' && !url.startsWith('node:')

/** It may run at any time, and interrupts nothing. */
const COLLECTOR = '(garbage collector)'

export function busiestStretch({ nodes, samples, timeDeltas }: Profile): BusiestStretch | undefined {
  const byId = new Map(nodes.map(node => [node.id, node]))
  const parents = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map(child => [child, id] as const)),
  )
  /** The outermost function of the program itself. As long as it stays the same, the event loop may not have turned. */
  const outermost = (from: number): number | undefined => {
    let found: number | undefined
    for (let id: number | undefined = from; id !== undefined; id = parents.get(id))
      if (isOfProgram(byId.get(id)?.callFrame.url ?? '')) found = id
    return found
  }
  let longest = 0
  let counts = new Map<number, number>()
  let current = 0
  let currentCounts = new Map<number, number>()
  let last: number | undefined
  for (const [index, id] of samples.entries()) {
    if (byId.get(id)?.callFrame.functionName === COLLECTOR) continue
    const outer = outermost(id)
    if (outer === undefined || outer !== last) {
      current = 0
      currentCounts = new Map()
      last = outer
      if (outer === undefined) continue
    }
    // A longer gap says that the process, or who takes the samples, had no processor.
    const micros = Math.min(timeDeltas[index] ?? 0, MOST_GAP)
    current += micros
    currentCounts.set(id, (currentCounts.get(id) ?? 0) + micros)
    if (current > longest) {
      longest = current
      counts = currentCounts
    }
  }
  const [leaf] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? []
  if (leaf === undefined) return undefined
  const stack: string[] = []
  for (
    let id: number | undefined = leaf;
    id !== undefined && stack.length < MOST_FRAMES;
    id = parents.get(id)
  ) {
    const { functionName, url, lineNumber, columnNumber } = (byId.get(id) as ProfileNode).callFrame
    if (!isOfProgram(url)) continue
    stack.push(`at ${functionName || '(anonymous)'} (${url}:${lineNumber + 1}:${columnNumber + 1})`)
  }
  return { millis: longest / 1000, stack }
}
