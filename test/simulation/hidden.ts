/*
 * What the parts of a pool keep to themselves although the future depends on it, followed from outside after each event of a
 * small world: for its state.
 */

import type { Slot } from '../../src/connections/slot.ts'
import { type Pool, partsOf } from '../../src/pool/pool.ts'
import type { HookRun } from '../../src/runtime/time/attempt.ts'
import type { Stalls } from '../../src/runtime/time/stalls.ts'
import { GATE_MILLIS } from '../../src/sockets/poll-phase.ts'
import type { Call, Connection } from '../model/scripted-server.ts'
import type { SmallServer } from './small-server.ts'
import type { SmallWorld } from './small-world.ts'
import type { StepClock } from './step-clock.ts'

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
  readonly #begun: Slot<Connection>[] = []
  /** In which turn each barrier began, who had marked that turn, and for which connection it is. */
  #barriers: { readonly turn: number; readonly marks: string; readonly slot: Slot<Connection> }[] = []
  /** As in `sockets/poll-phase.ts`. */
  readonly #polls = { latest: 0, delivered: 0, events: -1 }

  /** As in `runtime/time/stall-monitor.ts`: is a stall just over, and for how long was the loop blocked when last asked? */
  #isFresh = false
  #measuredAt = 0
  /**
   * The hooks that run, and those that ended before their deadline, in the order in which they began. Both lie in one heap,
   * whose shape decides who is first of those that are due together.
   */
  #hooks: Hook[] = []
  /** Hooks that were given up, and have a turn of the loop to end by themselves. */
  #abandoned: Hook[] = []

  constructor(pool: Pool<Connection>, server: SmallServer, clock: StepClock) {
    const { hookDeadlines, liveness, stalls } = partsOf(pool).context
    this.#followStalls(stalls, clock)
    const barrier = liveness.barrier.bind(liveness)
    liveness.barrier = (slot, run) => {
      this.#begun.push(slot)
      return barrier(slot, run)
    }
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

  #followStalls(stalls: Stalls, clock: StepClock): void {
    const { start, add } = stalls
    let isMeasured = false
    stalls.start = () => {
      if (!isMeasured) this.#measuredAt = clock.stalled
      isMeasured = true
      start.call(stalls)
    }
    stalls.add = (until, millis) => {
      this.#isFresh = true
      this.#measuredAt = clock.stalled
      add.call(stalls, until, millis)
    }
    clock.loop.eachTurn(() => {
      this.#isFresh = false
    })
  }

  /** Called after each event. */
  follow({ pool, clock }: SmallWorld, event: string): void {
    const { context, connector } = partsOf(pool)
    const { watched } = context.liveness
    const { retryAt } = connector.breaker
    if (retryAt > 0 && retryAt !== this.#retryAt) this.pausedSince = clock.now()
    this.#retryAt = retryAt

    const { turns, marks } = clock
    for (const slot of this.#begun.splice(0)) this.#barriers.push({ turn: turns, marks, slot })
    const isOver = clock.turnsPending === 0
    this.#barriers = isOver ? [] : this.#barriers.filter(({ turn }) => turns - turn < MOST_TURNS)

    if (isOver) this.#abandoned = []
    const isIdle = this.#hooks.every(({ run }) => run.hasEnded)
    const isKept = ({ run }: Hook): boolean => !run.hasEnded || run.deadline > clock.now()
    this.#hooks = isIdle ? [] : this.#hooks.filter(isKept)

    if (event === 'turn' && marks.includes('StallMonitor')) this.#measuredAt = clock.stalled

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
    callAt: (call: Call<never> | undefined) => number,
    place: (slot: Slot<Connection>) => number,
  ): unknown[] {
    const { latest, delivered, events } = this.#polls
    const gate = (time: number): number => Math.min(ago(time), GATE_MILLIS)
    return [
      clock.marks,
      this.#barriers.map(({ turn, marks, slot }) => [clock.turns - turn, marks, place(slot)]),
      this.#hooks.map(({ run, call }) => [ago(run.deadline), run.hasEnded || callAt(call)]),
      this.#abandoned.map(({ call }) => callAt(call)),
      clock.now() === this.pausedSince,
      [this.#isFresh, clock.stalled - this.#measuredAt],
      // Where no kernel can be asked, nobody needs to know.
      setup.faults.includes('fin') && [gate(latest), gate(delivered), events === clock.events],
    ]
  }
}
