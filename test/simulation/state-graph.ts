/* The states that a search has reached, and the events that lead from one to another. */

/** What makes an event cheaper when it is repeated: the names of the timers and turns that it planned. */
export type Repeat = readonly string[]

export interface Node {
  /** The hash of its state. */
  readonly state: string
  /** The same of what is left of it if nothing goes wrong from here on. */
  readonly rest: string
  /** What can happen here, and the state after each that has been tried. */
  readonly events: readonly string[]
  readonly next: (Node | undefined)[]
  readonly repeats: (Repeat | undefined)[]
  tried: number
  /** Which event comes next if nothing goes wrong from here on; -1: there is none. */
  readonly ease: number
  /** Who must be served in that case, a bit for each; and who was refused in it, undefined as long as nobody knows. */
  readonly claims: number
  outcome: number | undefined
  /** All that can follow has been tried. */
  isDone: boolean
  /** How many runs have passed. */
  visits: number
  /** How it was first reached. */
  readonly from: Node | undefined
  readonly by: string
  /** All orders of events from here on; 0: not counted yet. */
  orders: bigint
  longest: number
}

export interface Graph {
  readonly nodes: Map<string, Node>
  /** The outcome of each good end that has been shown, by what was left of the state. */
  readonly ends: Map<string, number>
  root: Node | undefined
  runs: number
}

export const newGraph = (): Graph => ({ nodes: new Map(), ends: new Map(), root: undefined, runs: 0 })

/** How the search came to a state: the events from the first one. */
export function pathTo(node: Node): string[] {
  const events: string[] = []
  for (let at: Node | undefined = node; at?.from !== undefined; at = at.from) events.unshift(at.by)
  return events
}

/** What a search has done. */
export interface Figures {
  states: number
  /** Events that were tried, each in each state in which it can happen. */
  steps: number
  /** Orders of events from the first state to one in which nothing more can happen. */
  orders: bigint
  /** The longest order. */
  longest: number
  /** Runs that were needed. */
  runs: number
  /** Has everything been tried? */
  isWhole: boolean
}

export function figuresOf({ nodes, root, runs }: Graph): Figures {
  if (root !== undefined) count(root)
  const { orders = 0n, longest = 0, isDone = false } = root ?? {}
  let steps = 0
  for (const { tried } of nodes.values()) steps += tried
  return { states: nodes.size, steps, orders, longest, runs, isWhole: isDone }
}

function count(node: Node): void {
  if (node.orders > 0n) return
  for (const next of node.next) {
    if (next === undefined) continue
    count(next)
    node.orders += next.orders
    node.longest = Math.max(node.longest, next.longest + 1)
  }
  if (node.orders === 0n) node.orders = 1n
}
