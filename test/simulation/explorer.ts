/*
 * All orders of events, by depth-first search: each run starts anew and repeats the choices of the one before, up to the
 * one that is changed (stateless model checking). A state that has been seen is not gone on from.
 */

/** A world that goes from state to state by one event at a time. */
export interface Explored {
  /** The events that can happen now. */
  enabled(): string[]
  /** Has one of them happen. With `checks`, throws if the state after it breaks an invariant. */
  take(event: string, checks: boolean): Promise<void>
  /** Equal states have equal futures. */
  state(): string
  /** From here on nothing goes wrong: throws if not all comes to a good end. */
  finish(): Promise<void>
}

export interface Figures {
  states: number
  /** Runs, each of which ends in another order of events. */
  orders: number
  /** The longest order. */
  longest: number
}

/** The search found an order of events that breaks something. */
export class Found extends Error {
  readonly events: readonly string[]

  constructor(events: readonly string[], cause: unknown) {
    super(`${(cause as Error).message}\n    events: ${events.join(', ')}`, { cause })
    this.events = events
  }
}

interface Frame {
  readonly events: readonly string[]
  at: number
}

interface Limits {
  /** Most runs. The search ends there, and says so. */
  readonly orders?: number
  /** Goes on from states that have been seen, too: to check that hashing hides nothing. */
  readonly withoutHash?: boolean
}

export async function explore(
  make: () => Explored,
  { orders = Number.POSITIVE_INFINITY, withoutHash = false }: Limits = {},
): Promise<Figures> {
  const seen = new Set<string>()
  const frames: Frame[] = []
  const figures = { states: 0, orders: 0, longest: 0 }
  do {
    const world = make()
    const path: string[] = []
    try {
      for (const [index, frame] of frames.entries()) {
        const event = frame.events[frame.at] as string
        path.push(event)
        await world.take(event, index === frames.length - 1)
      }
      figures.orders += 1
      figures.longest = Math.max(figures.longest, path.length)
      const state = world.state()
      if (withoutHash || !seen.has(state)) {
        if (!seen.has(state)) figures.states += 1
        seen.add(state)
        frames.push({ events: world.enabled(), at: -1 })
        await world.finish()
      }
    } catch (error) {
      throw new Found(path, error)
    }
  } while (figures.orders < orders && next(frames))
  return figures
}

/** Changes the last choice that has another way. */
function next(frames: Frame[]): boolean {
  for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
    frame.at += 1
    if (frame.at < frame.events.length) return true
    frames.pop()
  }
  return false
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
