/*
 * Random programs that take connections from several pools, nested and in parallel, run by an interpreter that knows what
 * each line of execution waits for: the truth, against which the verdicts of the pools are judged.
 */

import type { Chance } from '../support/random.ts'

/** How a connection is taken. */
export type Way = 'acquire' | 'lease' | 'use'

/** A small language for programs that take connections. */
export type Step =
  | { readonly do: 'sleep'; readonly millis: number }
  | { readonly do: 'hold'; readonly pool: number; readonly way: Way; readonly body: readonly Step[] }
  /** `Promise.all`. */
  | { readonly do: 'all'; readonly branches: readonly (readonly Step[])[] }
  /** `Promise.race` with a timer. */
  | { readonly do: 'race'; readonly millis: number; readonly body: readonly Step[] }
  /** Takes a connection and hands it to a consumer that nobody awaits, which gives it back after some time. */
  | {
      readonly do: 'handOver'
      readonly pool: number
      readonly way: 'acquire' | 'lease'
      readonly millis: number
    }
  /** Started and left to itself. */
  | { readonly do: 'fork'; readonly body: readonly Step[] }

export interface Program {
  readonly pools: readonly number[]
  readonly tasks: readonly { readonly after: number; readonly body: readonly Step[] }[]
}

/** @param plain - whether connections are taken in other ways than by `use` */
export function randomProgram(chance: Chance, plain: boolean): Program {
  // Times that do not coincide: what happens in one instant has an order that is nobody's promise.
  const millis = (most: number): number => Math.ceil(chance.next() * most * 1000) / 1000 + chance.next() / 1e6
  const pools = Array.from({ length: 1 + chance.below(3) }, () => 1 + chance.below(3))
  const mixed: readonly Way[] = chance.oneIn(2)
    ? ['acquire', 'lease', 'use']
    : [chance.pick(['acquire', 'lease'])]
  const ways: readonly Way[] = plain ? mixed : ['use']
  const steps = (depth: number): Step[] => Array.from({ length: 1 + chance.below(3) }, () => step(depth))
  const step = (depth: number): Step => {
    const kind = depth === 0 ? 0 : chance.below(plain ? 11 : 10)
    if (kind >= 4 && kind <= 7) {
      return { do: 'hold', pool: chance.below(pools.length), way: chance.pick(ways), body: steps(depth - 1) }
    }
    if (kind === 8) {
      return { do: 'all', branches: Array.from({ length: 2 + chance.below(2) }, () => steps(depth - 1)) }
    }
    if (kind === 9) return { do: 'fork', body: steps(depth - 1) }
    if (kind === 10) {
      const way = chance.pick<'acquire' | 'lease'>(['acquire', 'lease'])
      return { do: 'handOver', pool: chance.below(pools.length), way, millis: millis(1000) }
    }
    if (kind === 3) return { do: 'race', millis: millis(300), body: steps(depth - 1) }
    // Now and then for twenty graces.
    return { do: 'sleep', millis: millis(chance.oneIn(12) ? 1000 : chance.oneIn(8) ? 150 : 12) }
  }
  const tasks = Array.from({ length: 1 + chance.below(5) }, () => ({ after: millis(30), body: steps(3) }))
  return { pools, tasks }
}

/** A pool, as far as a program needs one. */
export interface Lender {
  acquire(detached: boolean): Promise<unknown>
  release(thing: unknown): void
  use(work: () => Promise<void>, detached: boolean): Promise<void>
  lease(detached: boolean): Promise<{ release(): unknown }>
}

/** What a line of execution is doing: the truth, which the pools do not know. */
export class Line {
  state: 'runs' | 'waits' | 'joins' | 'over' = 'runs'
  waitsFor = -1
  branches: readonly Line[] = []
  /** Pools of which it holds connections at this moment. */
  readonly holds: number[] = []
  failure: unknown
}

/** Runs a program. Whatever fails ends the branch in which it happened, which gives back what it holds. */
export class Run {
  readonly lines: Line[] = []
  readonly #lenders: readonly Lender[]
  readonly #sleep: (millis: number) => Promise<void>

  constructor(lenders: readonly Lender[], sleep: (millis: number) => Promise<void>) {
    this.#lenders = lenders
    this.#sleep = sleep
  }

  get isOver(): boolean {
    return this.lines.every(line => line.state === 'over')
  }

  get failures(): unknown[] {
    return this.lines.flatMap(line => (line.failure === undefined ? [] : [line.failure]))
  }

  start(program: Program): void {
    for (const { after, body } of program.tasks) {
      void this.#line(async line => {
        await this.#sleep(after)
        await this.#steps(body, line, false)
      })
    }
  }

  /** Starts a line; its promise never rejects. */
  #line(work: (line: Line) => Promise<void>): { line: Line; ended: Promise<void> } {
    const line = new Line()
    this.lines.push(line)
    return { line, ended: this.#follow(line, work) }
  }

  async #follow(line: Line, work: (line: Line) => Promise<void>): Promise<void> {
    try {
      await work(line)
    } catch (error) {
      line.failure = error
    }
    line.state = 'over'
  }

  /** @param detached - nobody waits for this line: what it takes outside of its own leases carries the mark */
  async #steps(steps: readonly Step[], line: Line, detached: boolean): Promise<void> {
    for (const step of steps) {
      if (step.do === 'sleep') await this.#sleep(step.millis)
      else if (step.do === 'hold') await this.#hold(step, line, detached)
      else if (step.do === 'handOver') await this.#handOver(step, line, detached)
      else if (step.do === 'race') await this.#race(step, line, detached)
      else if (step.do === 'all') await this.#all(step.branches, line, detached)
      else this.#line(own => this.#steps(step.body, own, true))
    }
  }

  async #all(branches: readonly (readonly Step[])[], line: Line, detached: boolean): Promise<void> {
    const started = branches.map(body => this.#line(own => this.#steps(body, own, detached)))
    line.branches = started.map(({ line: branch }) => branch)
    line.state = 'joins'
    await Promise.all(started.map(({ ended }) => ended))
    line.state = 'runs'
    const failed = line.branches.find(branch => branch.failure !== undefined)
    line.branches = []
    if (failed !== undefined) throw new Error('a branch failed')
  }

  /** It counts as a wait; after its time the branch goes on by itself. */
  async #race(step: Step & { do: 'race' }, line: Line, detached: boolean): Promise<void> {
    const { line: branch, ended } = this.#line(own => this.#steps(step.body, own, detached))
    line.branches = [branch]
    line.state = 'joins'
    await Promise.race([ended, this.#sleep(step.millis)])
    line.state = 'runs'
    line.branches = []
  }

  async #handOver(step: Step & { do: 'handOver' }, line: Line, detached: boolean): Promise<void> {
    const lender = this.#lenders[step.pool] as Lender
    line.state = 'waits'
    line.waitsFor = step.pool
    try {
      const taken = await lender[step.way](detached)
      this.#line(async consumer => {
        consumer.holds.push(step.pool)
        await this.#sleep(step.millis)
        consumer.holds.pop()
        if (step.way === 'lease') (taken as { release(): unknown }).release()
        else lender.release(taken)
      })
    } finally {
      line.state = 'runs'
    }
  }

  async #hold(step: Step & { do: 'hold' }, line: Line, detached: boolean): Promise<void> {
    const lender = this.#lenders[step.pool] as Lender
    const body = async (): Promise<void> => {
      line.state = 'runs'
      line.holds.push(step.pool)
      try {
        await this.#steps(step.body, line, false)
      } finally {
        line.holds.splice(line.holds.indexOf(step.pool), 1)
      }
    }
    line.state = 'waits'
    line.waitsFor = step.pool
    try {
      if (step.way === 'use') {
        await lender.use(body, detached)
      } else if (step.way === 'acquire') {
        const thing = await lender.acquire(detached)
        try {
          await body()
        } finally {
          lender.release(thing)
        }
      } else {
        const lease = await lender.lease(detached)
        try {
          await body()
        } finally {
          lease.release()
        }
      }
    } finally {
      line.state = 'runs'
    }
  }
}

/**
 * Can this line still come to its end, if all goes as well as it can? From the truth about who holds and awaits what:
 * a line that runs, or sleeps, can; one that waits can when some holder of that pool can; a join when all its branches
 * can. A holder is a line with its branches: what a joining line holds comes back when they are over.
 */
export function hopeless(run: { readonly lines: readonly Line[] }, pools: readonly number[]): Set<Line> {
  const hopeful = new Set<Line>()
  for (let size = -1; size !== hopeful.size; ) {
    size = hopeful.size
    for (const line of run.lines) {
      if (hopeful.has(line)) continue
      const can =
        line.state === 'runs' ||
        line.state === 'over' ||
        (line.state === 'joins' && line.branches.every(branch => hopeful.has(branch))) ||
        (line.state === 'waits' && canBeServed(run, line.waitsFor, pools[line.waitsFor] as number, hopeful))
      if (can) hopeful.add(line)
    }
  }
  return new Set(run.lines.filter(line => !hopeful.has(line)))
}

function canBeServed(
  run: { readonly lines: readonly Line[] },
  pool: number,
  max: number,
  hopeful: ReadonlySet<Line>,
): boolean {
  let stuck = 0
  for (const line of run.lines) {
    if (!hopeful.has(line)) stuck += line.holds.filter(held => held === pool).length
  }
  return stuck < max
}
