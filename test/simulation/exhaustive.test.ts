import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Chance } from '../support/random.ts'
import { configurations, isLarge, nameOf } from './configurations.ts'
import { audit, type Explored, explore, Found } from './explorer.ts'
import { SmallWorld } from './small-world.ts'
import { figuresOf, type Repeat } from './state-graph.ts'
import { StepClock } from './step-clock.ts'

/** So many random orders of each are played again. */
const AUDITED = 10

describe('every order of events keeps the invariants, and comes to a good end once the faults cease', () => {
  for (const setup of configurations(2)) {
    if (setup.faults.length > 1 || isLarge(setup)) continue
    test(nameOf(setup), async t => {
      const make = (): SmallWorld => new SmallWorld(setup)
      const graph = await explore(make)
      const { states, orders, longest, isWhole } = figuresOf(graph)
      assert.ok(isWhole)
      t.diagnostic(`${states} states, ${orders} orders, ${longest} events`)
      const chance = new Chance(1)
      await audit(make, graph, AUDITED, limit => chance.below(limit))
    })
  }
})

/** A world of events without a pool: each happens once, in any order. */
class Toy implements Explored {
  readonly done: string[] = []
  readonly #events: readonly string[]

  constructor(...events: string[]) {
    this.#events = events
  }

  enabled(): string[] {
    return this.#events.filter(event => !this.done.includes(event))
  }

  async take(event: string, _checks: boolean): Promise<Repeat> {
    this.done.push(event)
    return []
  }

  state(): string {
    return this.done.toSorted().join('')
  }

  rest(): string {
    return this.state()
  }

  ease(_enabled: readonly string[]): string | undefined {
    return undefined
  }

  claims(): number {
    return 0
  }

  refused(): number {
    return 0
  }

  async finish(): Promise<void> {}
}

const found = (events: string): ((error: unknown) => boolean) => {
  return error => {
    assert.ok(error instanceof Found)
    assert.equal(error.events.join(''), events)
    return true
  }
}

describe('the search', () => {
  test('finds the only bad order of three events, and repeats it', async () => {
    class Fragile extends Toy {
      override state(): string {
        return this.done.join('')
      }

      override async take(event: string, checks: boolean): Promise<Repeat> {
        const repeat = await super.take(event, checks)
        assert.notEqual(this.done.join(''), 'cab')
        return repeat
      }
    }
    await assert.rejects(
      explore(() => new Fragile('a', 'b', 'c')),
      found('cab'),
    )
  })

  test('tries every event in every state, and counts all orders', async () => {
    const figures = figuresOf(await explore(() => new Toy('a', 'b', 'c', 'd')))
    assert.deepEqual(
      { ...figures, runs: 0 },
      { states: 16, steps: 32, orders: 24n, longest: 4, runs: 0, isWhole: true },
    )
    assert.ok(figures.runs < 24, `${figures.runs} runs`)
  })

  test('finds a state from which no good end comes, also where only other events lead on from there', async () => {
    class Doomed extends Toy {
      override ease(enabled: readonly string[]): string | undefined {
        return enabled.find(event => event !== 'fault')
      }

      override async finish(): Promise<void> {
        assert.notEqual(this.done.join(''), 'afaultb')
      }

      override state(): string {
        return this.done.join('')
      }
    }
    await assert.rejects(
      explore(() => new Doomed('a', 'b', 'fault')),
      found('afaultb'),
    )
  })

  test('finds who is refused in the end although he had to be served from an earlier state on', async () => {
    class Unjust extends Toy {
      override ease(enabled: readonly string[]): string | undefined {
        return enabled[0]
      }

      override claims(): number {
        return this.done.join('') === 'a' ? 2 : 0
      }

      override refused(): number {
        return this.done.length === 3 ? 3 : 0
      }
    }
    await assert.rejects(
      explore(() => new Unjust('a', 'b', 'c')),
      found('a'),
    )
  })

  test('notices states that look equal and are not: by what can happen, and by playing orders again', async () => {
    class Blind extends Toy {
      override state(): string {
        return `${this.done.length}`
      }
    }
    await assert.rejects(
      explore(() => new Blind('a', 'b')),
      /equal states, but/,
    )

    /** Keeps to itself what came first, until the end. */
    class Secretive extends Toy {
      override state(): string {
        return this.done.length < 3 ? super.state() : this.done.join('')
      }
    }
    const make = (): Toy => new Secretive('a', 'b', 'c')
    const chance = new Chance(1)
    const graph = await explore(make)
    await assert.rejects(
      audit(make, graph, 50, limit => chance.below(limit)),
      /equal states with unequal futures/,
    )
  })

  test('notices that an event plans something else when it is repeated, and knows the same names without stacks', () => {
    const first = (clock: StepClock): void => void clock.after(5, () => {})
    const second = (clock: StepClock): void => clock.turn(() => {})
    const play = (known: readonly string[] | undefined, ...planners: ((clock: StepClock) => void)[]) => {
      const clock = new StepClock()
      clock.repeat(known)
      for (const planner of planners) planner(clock)
      return { names: clock.names(), plans: clock.plans }
    }
    const once = play(undefined, first, second)
    assert.deepEqual(once.names, ['first', 'second'])
    // A name that no stack has is taken as it is.
    assert.deepEqual(play(['another', 'second'], first, second).plans, [[[-5, 'another']], [['second', 0]]])
    assert.deepEqual(play(once.names, first, second), once)
    for (const planners of [[first], [first, second, second]])
      assert.throws(
        () => play(once.names, ...planners),
        /planned other timers and turns before: first,second/,
      )
  })

  test('says so if the events go round in a circle', async () => {
    class Circle extends Toy {
      override enabled(): string[] {
        return ['a', 'b']
      }

      override state(): string {
        return `${this.done.length % 3}`
      }
    }
    await assert.rejects(
      explore(() => new Circle()),
      /a circle/,
    )
  })
})
