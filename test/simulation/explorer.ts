/*
 * All orders of events (stateless model checking). JavaScript cannot be set back, so each run starts anew. Equal states are one
 * node of a graph: a run takes any way to a node that has events left to try, goes on from there, also through nodes of
 * earlier runs, and ends only where nothing is left to try below. So few runs cover the graph.
 *
 * In every state the invariants are checked; and from every state a run without further faults has to come to a good end.
 * That run mostly consists of events of the graph, so it is played only from states in which none of these is left.
 */

import { hash } from 'node:crypto'
import { type Graph, type Node, newGraph, pathTo, type Repeat } from './state-graph.ts'

/** A world that goes from state to state by one event at a time. */
export interface Explored {
  /** The events that can happen now. */
  enabled(): string[]
  /**
   * Has one of them happen. With `checks`, throws if the state after it breaks an invariant.
   *
   * @param known - what it returned when the same event happened in an equal state
   * @returns what makes the event cheaper when it is repeated
   */
  take(event: string, checks: boolean, known?: Repeat): Promise<Repeat>
  /** Equal states have equal futures. */
  state(): string
  /** The state but for what can no longer happen if nothing goes wrong from here on. */
  rest(): string
  /** Which of these events is next if nothing goes wrong from here on; undefined: all that is left is {@link finish}. */
  ease(enabled: readonly string[]): string | undefined
  /** Who must be served if nothing goes wrong from here on, and who has been refused: a bit for each. */
  claims(): number
  refused(): number
  /** From here on nothing goes wrong: throws if not all comes to a good end. */
  finish(): Promise<void>
}

/** The search found an order of events that breaks something. */
export class Found extends Error {
  readonly events: readonly string[]

  constructor(events: readonly string[], cause: unknown) {
    super(`${(cause as Error).message}\n    events: ${events.join(', ')}`, { cause })
    this.events = events
  }
}

interface Limits {
  /** Most runs. The search ends there. */
  readonly runs?: number
}

/** @returns all states that were reached */
export async function explore(
  make: () => Explored,
  { runs = Number.POSITIVE_INFINITY }: Limits = {},
): Promise<Graph> {
  const graph = newGraph()
  while (graph.runs < runs && graph.root?.isDone !== true) {
    graph.runs += 1
    await new Run(graph, make()).go()
  }
  return graph
}

/**
 * Plays random orders again, each in a world of its own: after each event the state has to be the one of the graph, whichever
 * way the search came there. So it shows that equal states have equal futures, and that hashing hides nothing.
 */
export async function audit(
  make: () => Explored,
  { root }: Graph,
  orders: number,
  below: (limit: number) => number,
): Promise<void> {
  for (let order = 0; order < orders; order += 1) {
    const world = make()
    const path: string[] = []
    for (let node = root; node !== undefined && node.events.length > 0; ) {
      const step = below(node.events.length)
      const event = node.events[step] as string
      node = node.next[step]
      if (node === undefined) break
      path.push(event)
      await world.take(event, false)
      const state = world.state()
      if (digest(state) === node.state) continue
      const same = pathTo(node).join(', ')
      throw new Found(path, new Error(`equal states with unequal futures: not as after ${same}\n${state}`))
    }
  }
}

/** Runs one order of events, and what comes after it: to repeat what a search has found. */
export async function replay(world: Explored, events: readonly string[]): Promise<void> {
  try {
    for (const event of events) await world.take(event, true)
    await world.finish()
  } catch (error) {
    throw new Found(events, error)
  }
}

/** Longer than any order of a small world. */
const MOST_EVENTS = 100

const digest = (text: string): string => hash('sha1', text, 'base64')

/** One run: from the first state to one below which nothing is left to try. */
class Run {
  readonly #graph: Graph
  readonly #world: Explored
  readonly #path: string[] = []
  readonly #nodes: Node[] = []

  constructor(graph: Graph, world: Explored) {
    this.#graph = graph
    this.#world = world
  }

  async go(): Promise<void> {
    try {
      let node = this.#arrive('')
      this.#graph.root ??= node
      for (let step = choose(node); step >= 0; step = choose(node)) node = await this.#take(node, step)
      if (node.outcome === undefined && node.ease < 0) await this.#finish(node)
    } catch (error) {
      throw new Found(this.#path, error)
    }
    for (const node of this.#nodes.reverse()) settle(node)
  }

  async #take(from: Node, step: number): Promise<Node> {
    const event = from.events[step] as string
    const known = from.next[step]
    this.#path.push(event)
    if (this.#path.length > MOST_EVENTS) throw new Error('a circle: nothing comes to its end')
    const repeat = await this.#world.take(event, known === undefined, from.repeats[step])
    if (known !== undefined) return this.#pass(known)
    const node = this.#arrive(event)
    from.next[step] = node
    from.repeats[step] = repeat
    from.tried += 1
    return node
  }

  #arrive(by: string): Node {
    const world = this.#world
    const { nodes, ends } = this.#graph
    const state = digest(world.state())
    const events = world.enabled()
    const claims = world.claims()
    const known = nodes.get(state)
    if (known !== undefined) {
      if (known.events.join() !== events.join() || known.claims !== claims)
        throw new Error(`equal states, but ${events} can happen here; not as after ${pathTo(known)}`)
      return this.#pass(known)
    }
    const ease = events.indexOf(world.ease(events) ?? '')
    const rest = digest(world.rest())
    const node: Node = {
      ...{ state, rest, events, next: [], repeats: [], tried: 0, claims, ease, isDone: false, visits: 0 },
      outcome: ease < 0 ? ends.get(rest) : undefined,
      ...{ from: this.#nodes.at(-1), by, orders: 0n, longest: 0 },
    }
    nodes.set(state, node)
    return this.#pass(node)
  }

  #pass(node: Node): Node {
    node.visits += 1
    this.#nodes.push(node)
    return node
  }

  /** Shows the good end from here, unless the same one has been shown. */
  async #finish(node: Node): Promise<void> {
    const { ends } = this.#graph
    let outcome = ends.get(node.rest)
    if (outcome === undefined) {
      await this.#world.finish()
      outcome = this.#world.refused()
      ends.set(node.rest, outcome)
    }
    node.outcome = outcome
  }
}

/**
 * @returns which event a run goes on by: the next one if nothing goes wrong, so that it comes to its good end; then one that
 * has not been tried; then the least tried of those below which something is left. -1: there is none
 */
function choose({ events, next, tried, ease, isDone }: Node): number {
  if (isDone) return -1
  if (ease >= 0 && next[ease] === undefined) return ease
  if (tried < events.length) return events.findIndex((_, step) => next[step] === undefined)
  let least = -1
  let visits = Number.POSITIVE_INFINITY
  next.forEach((node, step) => {
    if (node === undefined || node.isDone || node.visits >= visits) return
    least = step
    visits = node.visits
  })
  return least
}

/** Called after a run, for each of its nodes from the last one on. */
function settle(node: Node): void {
  if (node.isDone) return
  node.outcome ??= node.next[node.ease]?.outcome
  if (node.outcome === undefined) return
  const wronged = node.outcome & node.claims
  if (wronged !== 0)
    throw new Found(
      pathTo(node),
      new Error(
        `refused although there was ample time, and nothing went wrong any more: ${wronged.toString(2)}`,
      ),
    )
  node.isDone = node.tried === node.events.length && node.next.every(next => next?.isDone === true)
}
