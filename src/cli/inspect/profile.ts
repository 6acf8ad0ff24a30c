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

/** The longest time that the process was in its own code without a pause, and where it mostly was meanwhile. */
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

/** What stands in a profile while no code runs. */
const AT_REST: ReadonlySet<string> = new Set(['(idle)', '(root)', '(program)'])

export function busiestStretch({ nodes, samples, timeDeltas }: Profile): BusiestStretch | undefined {
  const byId = new Map(nodes.map(node => [node.id, node]))
  const parents = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map(child => [child, id] as const)),
  )
  let longest = 0
  let counts = new Map<number, number>()
  let current = 0
  let currentCounts = new Map<number, number>()
  for (const [index, id] of samples.entries()) {
    if (AT_REST.has(byId.get(id)?.callFrame.functionName ?? '')) {
      current = 0
      currentCounts = new Map()
      continue
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
    if (url === '' || url.startsWith('node:')) continue
    stack.push(`at ${functionName || '(anonymous)'} (${url}:${lineNumber + 1}:${columnNumber + 1})`)
  }
  return { millis: longest / 1000, stack }
}
