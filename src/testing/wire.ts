import type { Chance } from './chance.ts'
import type { Trace } from './trace.ts'
import type { VirtualLoop } from './virtual-loop.ts'

/** What the parts of one simulation share. */
export interface World {
  readonly loop: VirtualLoop
  readonly chance: Chance
  readonly trace: Trace
}

/** What can arrive at one end of a connection. */
export type Segment = Buffer | 'fin' | 'rst'

/** The state of the network between the process and one server. */
export interface Route {
  readonly latencyMillis: number
  readonly jitterMillis: number
  /** Does no packet get through? */
  readonly isCut: boolean
  /** Called for a packet that does not get through now: it is sent again when the route is whole again. */
  hold(resend: () => void): void
}

/**
 * One direction of a connection: what is sent arrives in order, after the latency of the route.
 */
export class Direction {
  readonly #world: World
  readonly #route: Route
  readonly #arrive: (segment: Segment) => void
  /** No packet overtakes another. */
  #lastAt = 0

  constructor(world: World, route: Route, arrive: (segment: Segment) => void) {
    this.#world = world
    this.#route = route
    this.#arrive = arrive
  }

  send(segment: Segment): void {
    const { loop, chance } = this.#world
    const { latencyMillis, jitterMillis } = this.#route
    const jitter = jitterMillis === 0 ? 0 : jitterMillis * chance.next()
    const at = Math.max(loop.now() + latencyMillis + jitter, this.#lastAt)
    this.#lastAt = at
    loop.outside(at - loop.now(), () => this.#pass(segment))
  }

  #pass(segment: Segment): void {
    if (this.#route.isCut) this.#route.hold(() => this.#arrive(segment))
    else this.#arrive(segment)
  }
}
