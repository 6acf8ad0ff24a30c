/*
 * What the parts of a pool keep to themselves although the future depends on it, followed from outside after each event of a
 * small world: for its state.
 */

import { type Pool, partsOf } from '../../src/pool/pool.ts'
import type { HookRun } from '../../src/runtime/time/attempt.ts'
import { GATE_MILLIS } from '../../src/sockets/poll-phase.ts'
import type { Call, Connection } from '../model/scripted-server.ts'
import type { SmallServer } from './small-server.ts'
import type { SmallWorld } from './small-world.ts'

/** A barrier lasts for fewer turns of the loop. */
const MOST_TURNS = 4

interface Hook {
  readonly run: HookRun
  readonly call: Call<never> | undefined
}

export class Hidden {
  /** When the last round of the backoff began: connections from before it prove nothing. */
  pausedSince = 0
  #retryAt = 0
  #barrierCount = 0
  /** In which turn each barrier began, and who had marked that turn. */
  #barriers: { readonly turn: number; readonly marks: string }[] = []
  /** As in `sockets/poll-phase.ts`. */
  readonly #polls = { latest: 0, delivered: 0, events: -1 }

  /**
   * The hooks that run, and those that ended before their deadline, in the order in which they began. Both lie in one heap,
   * whose shape decides who is first of those that are due together.
   */
  #hooks: Hook[] = []
  /** Hooks that were given up, and have a turn of the loop to end by themselves. */
  #abandoned: Hook[] = []

  constructor(pool: Pool<Connection>, server: SmallServer) {
    const { hookDeadlines } = partsOf(pool).context
    const add = hookDeadlines.add.bind(hookDeadlines)
    hookDeadlines.add = run => {
      const hook = { run, call: server.latest }
      const { expire } = run
      Object.assign(run, {
        expire: () => {
          this.#abandoned.push(hook)
          expire()
        },
      })
      // With the last one that runs the heap has been emptied.
      if (this.#hooks.every(({ run }) => run.hasEnded)) this.#hooks = []
      this.#hooks.push(hook)
      add(run)
    }
  }

  /** Called after each event. */
  follow({ pool, clock }: SmallWorld, event: string): void {
    const { context, connector } = partsOf(pool)
    const { counts, watched } = context.liveness
    const { retryAt } = connector.breaker
    if (retryAt > 0 && retryAt !== this.#retryAt) this.pausedSince = clock.now()
    this.#retryAt = retryAt

    const { turns, marks } = clock
    for (; this.#barrierCount < counts.barriers; this.#barrierCount += 1)
      this.#barriers.push({ turn: turns, marks })
    const isOver = clock.turnsPending === 0
    this.#barriers = isOver ? [] : this.#barriers.filter(({ turn }) => turns - turn < MOST_TURNS)

    if (isOver) this.#abandoned = []
    const isIdle = this.#hooks.every(({ run }) => run.hasEnded)
    const isKept = ({ run }: Hook): boolean => !run.hasEnded || run.deadline > clock.now()
    this.#hooks = isIdle ? [] : this.#hooks.filter(isKept)

    const polls = this.#polls
    if (watched === 0) polls.latest = polls.delivered = 0
    else if (event === 'turn' && marks.includes('PollPhase')) {
      polls.delivered = polls.events === clock.events ? clock.now() : polls.latest
      polls.latest = clock.now()
      polls.events = clock.events
    }
  }

  state(
    { clock, setup }: SmallWorld,
    ago: (time: number) => number,
    place: (call: Call<never> | undefined) => number,
  ): unknown[] {
    const { latest, delivered, events } = this.#polls
    const gate = (time: number): number => Math.min(ago(time), GATE_MILLIS)
    return [
      clock.marks,
      this.#barriers.map(({ turn, marks }) => [clock.turns - turn, marks]),
      this.#hooks.map(({ run, call }) => [ago(run.deadline), run.hasEnded || place(call)]),
      this.#abandoned.map(({ call }) => place(call)),
      clock.now() === this.pausedSince,
      // Where no kernel can be asked, nobody needs to know.
      setup.faults.includes('fin') && [gate(latest), gate(delivered), events === clock.events],
    ]
  }
}
