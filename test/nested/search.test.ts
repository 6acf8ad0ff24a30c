/* The search for a knot, turn by turn, among pools and waiters that are only records. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DeadlockSearch, youngestOf } from '../../src/nested/deadlock-search.ts'
import type { Connection, Knot, Lease, PoolNode, UseFrame, Wait } from '../../src/nested/host.ts'
import { CROWD, CROWD_GRACES, PLAIN_GRACES } from '../../src/nested/plain-leases.ts'
import { addFrame, addPool, nextNumber } from '../../src/nested/process-wide.ts'
import type { Frame } from '../../src/runtime/stack-trace.ts'
import { FakeClock } from '../support/clock.ts'

/** The search knows pools and frames weakly: these keep them. */
const kept: object[] = []

class Node implements PoolNode {
  readonly name: string
  readonly held: Lease[] = []
  readonly queue: Asked[] = []
  readonly busy = new Set<Connection>()
  moves = false
  stood = 1
  quiet = 1
  rivalling: Node[] = []
  sharing: Node[] = []
  looks = 0

  constructor(name: string) {
    this.name = name
  }

  get lent(): number {
    return this.held.length
  }
  canMove = (): boolean => this.moves
  sharers = (): Node[] => this.sharing
  rivals = (): Node[] => this.rivalling
  isStill = (): boolean => !this.moves
  hasStood = (graces: number): boolean => this.stood >= graces
  leases = (): Lease[] => {
    this.looks += 1
    return this.held
  }
  isQuiet = (connection: Connection, graces: number): boolean =>
    this.quiet >= graces && !this.busy.has(connection)
  waits = (): Wait[] => this.queue
  isBound = (wait: Wait): boolean => !wait.hasEnded && (wait as Asked).isBound
  isDue = (wait: Wait): boolean => this.isBound(wait) && (wait as Asked).isDue
  prioritise(): void {}
  reject = (): boolean => true

  /** Lends a connection to a `use`. @returns the number of its function */
  use(): number {
    const number = nextNumber()
    const connection = { state: 'lent', loan: 1, resource: {}, trace: undefined } as unknown as Connection
    const frame = { number, connection, pool: this as PoolNode, loan: 1, users: 1 } as UseFrame
    kept.push(frame)
    addFrame(frame)
    this.held.push({ connection, pool: this, loan: 1, isPlain: false })
    return number
  }

  /** Lends a connection by `acquire` to this function; undefined: nobody knows to whom. */
  plain(func: string | undefined): void {
    const owners = { frames: func === undefined ? [] : [frameOf(func, 3)] }
    const connection = { state: 'lent', loan: 1, resource: {}, trace: { frames: [], owners } }
    this.held.push({ connection: connection as unknown as Connection, pool: this, loan: 1, isPlain: true })
  }

  /** An acquire waits, awaited by the functions of these uses, or of these names. */
  wait(...awaitedBy: (number | string)[]): Asked {
    const wait = new Asked(awaitedBy, this.queue.length)
    this.queue.push(wait)
    return wait
  }
}

function frameOf(func: string, line: number): Frame {
  const place = `${line}`
  return {
    ...{ func, place, position: line, async: true, begun: true, joins: false, lease: undefined, text: func },
  }
}

class Asked implements Wait {
  readonly since: number
  hasEnded = false
  readonly deadline = 1e9
  readonly detached = false
  readonly trace = undefined
  awaiters: Wait['awaiters'] = undefined
  isBound = true
  isDue = true
  asked = 0
  /** What each question costs. */
  onAsk: () => void = () => {}
  awaitedBy: readonly (number | string)[]

  constructor(awaitedBy: readonly (number | string)[], since: number) {
    this.awaitedBy = awaitedBy
    this.since = since
  }

  ask(): void {
    this.asked += 1
    this.onAsk()
    const leases = this.awaitedBy.filter(each => typeof each === 'number')
    const frames = this.awaitedBy.flatMap(each => (typeof each === 'string' ? frameOf(each, 9) : []))
    this.awaiters = { chain: { leases, frames } } as never
  }
}

function searchOf(...names: string[]) {
  const clock = new FakeClock()
  const nodes = names.map(name => new Node(name)) as [Node, Node, Node]
  kept.push(nodes)
  const knots: Knot[] = []
  const search = new DeadlockSearch(clock, knot => void knots.push(knot))
  const run = async (): Promise<number> => {
    const before = knots.length
    search.request(nodes[0])
    await clock.advance(0)
    return knots.length - before
  }
  return { clock, nodes, knots, search, run }
}

const waitersOf = (knot: Knot | undefined): Wait[] => knot?.map(({ waiter }) => waiter) ?? []

describe('a knot is found', () => {
  test('of a use that holds the only connection, and its waiter is asked twice', async () => {
    const { nodes, knots, run } = searchOf('one')
    const [one] = nodes
    const waiter = one.wait(one.use())
    assert.equal(await run(), 1)
    assert.deepEqual([waitersOf(knots[0])[0] === waiter, waiter.asked], [true, 2])
  })

  test('across pools that hold each other, of which the first is asked alone', async () => {
    const { nodes, knots, run } = searchOf('one', 'two', 'three')
    const [one, two, three] = nodes
    const first = one.wait(two.use())
    const second = two.wait(one.use())
    const stranger = three.wait(three.use())
    assert.equal(await run(), 1)
    assert.deepEqual([waitersOf(knots[0]).length, stranger.asked], [2, 0])
    assert.ok([first, second].every(each => waitersOf(knots[0]).includes(each)))
  })

  test('of pools that only their budget keeps from connecting, with all leases that use it up', async () => {
    const { nodes, run } = searchOf('one', 'two')
    const [one, two] = nodes
    one.rivalling = [two]
    two.sharing = [one]
    const numbers = [two.use(), two.use()] as const
    one.wait(numbers[0])
    assert.equal(await run(), 0, 'one lease of the rival can end')
    one.wait(numbers[1])
    assert.equal(await run(), 1)
    two.sharing = []
    assert.equal(await run(), 0, 'what ends there serves nobody here')
  })

  test('and before it is broken, just those are asked again who hold its leases, and the youngest', async () => {
    const { nodes, run } = searchOf('one')
    const [one] = nodes
    const number = one.use()
    const waits = [one.wait(number), one.wait(number), one.wait(number)]
    assert.equal(await run(), 1)
    assert.deepEqual(
      waits.map(({ asked }) => asked),
      [2, 1, 2],
    )
  })
})

describe('no knot is found', () => {
  test('while a connection is not quiet, or the pool has just moved, and then nobody is asked', async () => {
    for (const [what, set] of [
      ['traffic', (node: Node) => Object.assign(node, { quiet: 0 })],
      ['movement', (node: Node) => Object.assign(node, { stood: 0 })],
    ] as const) {
      const { nodes, run } = searchOf('one')
      const [one] = nodes
      const waiter = one.wait(one.use())
      set(one)
      assert.deepEqual([await run(), waiter.asked], [0, 0], what)
    }
  })

  test('while a rival moves, or one of its connections is not quiet', async () => {
    for (const set of [{ quiet: 0 }, { stood: 0 }]) {
      const { nodes, run } = searchOf('one', 'two')
      const [one, two] = nodes
      one.rivalling = [two]
      two.sharing = [one]
      const waiter = one.wait(two.use())
      Object.assign(two, set)
      assert.deepEqual([await run(), waiter.asked], [0, 0])
    }
  })

  test('where the pool itself, or the one at the end of the chain, can move', async () => {
    const { nodes, run } = searchOf('one', 'two')
    const [one, two] = nodes
    one.wait(two.use())
    two.wait(one.use())
    two.moves = true
    assert.equal(await run(), 0)
    two.moves = false
    assert.equal(await run(), 1)
  })

  test('where a connection of another pool of the circle is not quiet', async () => {
    const { nodes, run } = searchOf('one', 'two')
    const [one, two] = nodes
    one.wait(two.use())
    two.wait(one.use())
    two.quiet = 0
    assert.equal(await run(), 0)
  })

  test('of a waiter that is not due, or awaits no more when it is asked for the second time', async () => {
    const { nodes, run } = searchOf('one')
    const [one] = nodes
    const waiter = one.wait(one.use())
    waiter.isDue = false
    assert.equal(await run(), 0)
    waiter.isDue = true
    waiter.onAsk = () => {
      if (waiter.asked % 2 === 1) waiter.awaitedBy = []
    }
    const { awaitedBy } = waiter
    waiter.asked = 1
    assert.equal(await run(), 0)
    waiter.onAsk = () => {}
    waiter.awaitedBy = awaitedBy
    assert.equal(await run(), 1)
  })

  test('in which another pool is stuck, and this one only waits for that', async () => {
    const { nodes, run } = searchOf('one', 'two')
    const [one, two] = nodes
    one.wait(one.use())
    const [behind] = one.queue
    if (behind !== undefined) behind.awaitedBy = [two.use()]
    one.held.splice(0)
    two.wait(...(behind?.awaitedBy ?? []))
    assert.equal(await run(), 0)
  })

  test('of a loan that has ended while they were asked', async () => {
    const { nodes, run } = searchOf('one')
    const [one] = nodes
    const waiter = one.wait(one.use())
    const connection = one.held[0]?.connection as { loan: number }
    waiter.onAsk = () => {
      connection.loan = 2
    }
    assert.equal(await run(), 0)
  })
})

describe('no knot is made of what is not certain', () => {
  test('where the name has passed to a connection that works, and the numbers of the loans are the same', async () => {
    const { nodes, run } = searchOf('one')
    const [one] = nodes
    const waiter = one.wait(one.use())
    const frame = kept.at(-1) as UseFrame
    const working = { state: 'lent', loan: 1, resource: {}, trace: undefined } as unknown as Connection
    one.busy.add(working)
    waiter.onAsk = () => {
      if (waiter.asked !== 2) return
      frame.connection = working
      one.held.splice(0, 1, { connection: working, pool: one, loan: 1, isPlain: false })
    }
    assert.equal(await run(), 0)
  })

  test('where a loan has ended by the time they are asked for the second time', async () => {
    const { nodes, run } = searchOf('one')
    const [one] = nodes
    const waiter = one.wait(one.use())
    const connection = one.held[0]?.connection as { loan: number }
    waiter.onAsk = () => {
      if (waiter.asked === 2) connection.loan = 2
    }
    assert.deepEqual([await run(), waiter.asked], [0, 2])
  })

  test('where a waiter has not answered', async () => {
    const { nodes, run } = searchOf('one')
    const [one] = nodes
    const waiter = one.wait(one.use())
    waiter.ask = () => {
      waiter.awaiters = { chain: undefined }
    }
    assert.equal(await run(), 0)
  })

  test('where another waiter that may hold the plain lease can still go on', async () => {
    for (const may of ['expire', 'be served', 'neither'] as const) {
      const { nodes, run } = searchOf('one', 'two')
      const [one, two] = nodes
      for (const node of [one, two]) {
        addPool(node)
        Object.assign(node, { stood: PLAIN_GRACES, quiet: PLAIN_GRACES })
      }
      one.plain(`taker that may ${may}`)
      one.wait(`taker that may ${may}`)
      const other = (may === 'be served' ? two : one).wait(`taker that may ${may}`)
      if (may === 'expire') other.isBound = false
      two.moves = true
      assert.equal(await run(), may === 'neither' ? 1 : 0, may)
      for (const node of [one, two]) {
        node.held.splice(0)
        node.queue.splice(0)
      }
    }
  })
})

describe('plain leases', () => {
  test('a use beside them has to be quiet for one grace only, as it is known who holds it', async () => {
    const { nodes, run } = searchOf('one')
    const [one] = nodes
    addPool(one)
    one.stood = PLAIN_GRACES
    one.plain('holder beside a use')
    const first = one.wait('holder beside a use')
    one.wait(one.use())
    const ofUse = one.held[1]?.connection
    let quiet = PLAIN_GRACES - 1
    one.isQuiet = (connection, graces) => graces <= (connection === ofUse ? 1 : quiet)
    assert.deepEqual([await run(), first.asked], [0, 0])
    quiet = PLAIN_GRACES
    assert.equal(await run(), 1)
    one.held.splice(0)
    one.queue.splice(0)
  })

  test('that were looked at in vain are counted once by the next search', async () => {
    const { clock, nodes, run } = searchOf('one')
    const [one] = nodes
    addPool(one)
    Object.assign(one, { stood: PLAIN_GRACES, quiet: PLAIN_GRACES })
    one.plain('late holder')
    const waiter = one.wait('nobody')
    assert.equal(await run(), 0)
    await clock.advance(100)
    waiter.awaitedBy = ['late holder']
    assert.equal(await run(), 1)
    one.held.splice(0)
    one.queue.splice(0)
  })

  test('that do not exist have no stranger asked', async () => {
    const { nodes, run } = searchOf('one', 'two')
    const [one, two] = nodes
    addPool(two)
    one.stood = CROWD_GRACES
    one.wait(one.use())
    const stranger = two.wait()
    assert.deepEqual([await run(), stranger.asked], [1, 0])
    two.queue.splice(0)
  })

  test('are looked at after as many graces as chance needs, fewer for a crowd', async () => {
    for (const [count, graces] of [
      [1, PLAIN_GRACES],
      [CROWD - 1, PLAIN_GRACES],
      [CROWD, CROWD_GRACES],
    ] as const) {
      const { nodes, run } = searchOf('one')
      const [one] = nodes
      kept.push(one)
      addPool(one)
      const waits = Array.from({ length: count }, () => {
        one.plain(`task ${one.name}`)
        return one.wait(`task ${one.name}`)
      })
      Object.assign(one, { stood: graces - 1, quiet: graces - 1 })
      assert.deepEqual([await run(), waits[0]?.asked], [0, 0], `${count}`)
      Object.assign(one, { stood: graces, quiet: graces })
      assert.equal(await run(), 1, `${count}`)
      one.held.splice(0)
      one.queue.splice(0)
    }
  })

  test('of an unknown taker rule a knot out, and nobody is asked', async () => {
    const { nodes, run } = searchOf('one')
    const [one] = nodes
    Object.assign(one, { stood: PLAIN_GRACES, quiet: PLAIN_GRACES })
    one.plain(undefined)
    const waiter = one.wait('task')
    assert.deepEqual([await run(), waiter.asked], [0, 0])
  })

  test('may be held by a waiter of any pool, and a search that has looked at them in vain is not repeated at once', async () => {
    const { clock, nodes, search, run } = searchOf('one', 'two', 'three')
    const [one, two, three] = nodes
    for (const node of [one, two]) {
      addPool(node)
      Object.assign(node, { stood: PLAIN_GRACES, quiet: PLAIN_GRACES })
    }
    one.plain('anybody')
    const [first, second] = [one.wait('nobody'), two.wait('anybody')]
    two.moves = true
    assert.deepEqual([await run(), first.asked, second.asked], [0, 1, 1])
    await clock.advance(99)
    await run()
    assert.equal(first.asked, 1)
    const fresh = three.wait(three.use())
    search.request(three)
    await clock.advance(0)
    assert.deepEqual([first.asked, fresh.asked], [1, 2], 'the knot of a use does not wait for that')
    await clock.advance(1)
    await run()
    assert.equal(first.asked, 2)
    one.held.splice(0)
    one.queue.splice(0)
    two.queue.splice(0)
  })

  test('are not asked about where the pool has not stood for long', async () => {
    const { nodes, run } = searchOf('one', 'two')
    const [one, two] = nodes
    addPool(two)
    Object.assign(one, { stood: CROWD_GRACES - 1 })
    Object.assign(two, { stood: PLAIN_GRACES, quiet: PLAIN_GRACES })
    two.plain('anybody')
    const stranger = two.wait('anybody')
    one.wait()
    one.use()
    await run()
    assert.equal(stranger.asked, 0)
    one.stood = CROWD_GRACES
    await run()
    assert.equal(stranger.asked, 1)
    two.held.splice(0)
    two.queue.splice(0)
  })
})

describe('a search', () => {
  test('asks a hundred in each turn, and is not begun again while it is under way', async () => {
    const { clock, nodes, search } = searchOf('one')
    const [one] = nodes
    one.use()
    const waits = Array.from({ length: 250 }, () => one.wait())
    const asked = (): number => waits.filter(each => each.asked > 0).length
    const steps: number[] = []
    clock.beforeTurns = () => {
      steps.push(asked())
      search.request(nodes[0])
    }
    search.request(nodes[0])
    assert.equal(asked(), 100)
    await clock.advance(0)
    assert.deepEqual(steps, [100, 200, 250])
    assert.ok(waits.every(each => each.asked === 1))
  })

  test('works for a twentieth of the time in the long run, and rests for the rest', async () => {
    const { clock, nodes, search, run } = searchOf('one')
    const [one] = nodes
    one.use()
    const waiter = one.wait()
    waiter.onAsk = () => clock.compute(60)
    await run()
    assert.equal(waiter.asked, 1)
    // It may work for 50 ms at a stretch: 10 were too many. It gets one back in 20, so 3 while it worked.
    assert.equal(Math.round(search.restsUntil - clock.now()), 140)
    await clock.advance(138)
    await run()
    assert.equal(waiter.asked, 1)
    await clock.advance(3)
    await run()
    assert.equal(waiter.asked, 2)
  })

  test('of a hundred pools that wait takes a twentieth of the time in all, and leaves out none', async () => {
    const { clock, nodes, search, knots } = searchOf(...Array.from({ length: 100 }, (_, at) => `pool ${at}`))
    const pools: readonly Node[] = nodes
    let worked = 0
    for (const pool of pools) {
      pool.use()
      pool.wait().onAsk = () => {
        clock.compute(1)
        worked += 1
      }
    }
    const asked = (): number => pools.filter(({ queue }) => (queue[0]?.asked ?? 0) > 0).length
    const [start, last] = [clock.now(), pools.at(-1) as Node]
    const round = async (): Promise<void> => {
      for (const pool of pools) search.request(pool)
      await clock.advance(25)
    }
    while (asked() < 100) await round()
    assert.ok(clock.now() - start < 5000, 'the second search was about all others')
    while (clock.now() - start < 60_000) await round()
    assert.ok(worked <= 60_000 / 20 + 150, `${worked} ms of work`)
    const waiter = last.wait(last.use())
    last.held.shift()
    while (knots.length === 0) await round()
    assert.deepEqual(waitersOf(knots[0]), [waiter])
  })

  test('finds the knots of all pools that have asked for it', async () => {
    const { clock, nodes, search, knots } = searchOf('one', 'two', 'three')
    const waits = nodes.map(node => node.wait(node.use()))
    for (const node of nodes) search.request(node)
    await clock.advance(0)
    assert.equal(knots.length, 1, 'the others have asked while it was under way')
    nodes[0].queue.splice(0)
    search.request(nodes[0])
    await clock.advance(0)
    assert.deepEqual(knots.slice(1).flatMap(waitersOf), waits.slice(1))
  })

  test('is not about a pool that has withdrawn its request', async () => {
    const { clock, nodes, search, knots } = searchOf('one', 'two')
    const [one, two] = nodes
    for (const node of nodes) node.wait(node.use())
    clock.compute(1)
    search.request(one)
    search.request(two)
    search.withdraw(two)
    await clock.advance(0)
    search.request(one)
    await clock.advance(0)
    assert.deepEqual(
      knots.map(knot => knot[0]?.pool),
      [one, one],
    )
    search.request(two)
    await clock.advance(0)
    assert.deepEqual(
      [knots.length, one.queue[0]?.asked],
      [3, 4],
      'nor about one whose request was dealt with',
    )
  })

  test('keeps nothing of the last one', async () => {
    const { nodes, run } = searchOf('one')
    const [one] = nodes
    const number = one.use()
    const waiter = one.wait(number)
    assert.equal(await run(), 1)
    one.queue.splice(0)
    const next = one.wait(number)
    assert.equal(await run(), 1)
    assert.deepEqual([waiter.asked, next.asked], [2, 2])
    one.queue.splice(0)
    assert.equal(await run(), 0)
  })
})

test('the youngest is the one that has waited for the shortest time, among equals the last', () => {
  const edge = (since: number): Knot[number] => ({
    waiter: { since } as Wait,
    pool: new Node('one'),
    blocks: [],
  })
  const knot = [edge(1), edge(5), edge(5), edge(3)]
  assert.equal(youngestOf(knot), knot[2])
  assert.equal(youngestOf([]), undefined)
})
