/* Who may hold a connection lent by `acquire`, by stacks that the test writes down. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Connection, Lease, PoolNode, Wait, WaitEdge } from '../../src/nested/host.ts'
import {
  CROWD,
  CROWD_GRACES,
  claimsOf,
  framesBegunBefore,
  PLAIN_GRACES,
  PlainLeases,
  recordRelease,
  takingOf,
} from '../../src/nested/plain-leases.ts'
import type { Frame, StackTrace } from '../../src/runtime/stack-trace.ts'

/** `task:12` is the function `task`, suspended in line 12. */
function frame(written: string, more: Partial<Frame> = {}): Frame {
  const [func = '', line = '0'] = written.split(':')
  return {
    ...{
      func,
      place: line,
      position: Number(line),
      async: true,
      begun: true,
      joins: false,
      lease: undefined,
    },
    ...{ text: written, ...more },
  }
}
const framesOf = (line: string): Frame[] => (line === '' ? [] : line.split(' ').map(each => frame(each)))

/** A stack of an acquire: what was called, and who awaited it as the connection was handed over. */
const traceOf = (owners: string | undefined, called = ''): StackTrace =>
  ({
    frames: called.split(' ').flatMap(each => (each === '' ? [] : frame(each, { async: false }))),
    owners: owners === undefined ? undefined : { frames: framesOf(owners) },
  }) as unknown as StackTrace

let unique = 0
/** A name for a function that no other test has recorded anything of. */
const fresh = (name: string): string => {
  unique += 1
  return `${name}${unique}`
}

interface Still {
  /** For how many graces the pool has stood, and the connection has been quiet. */
  stood: number
  quiet: number
}

function poolOf(still: Still): PoolNode {
  return {
    hasStood: (graces: number, since = 0) => still.stood >= graces + since,
    isQuiet: (_: unknown, graces: number) => still.quiet >= graces,
  } as unknown as PoolNode
}

function leaseOf(trace: StackTrace | undefined, pool: PoolNode = poolOf({ stood: 0, quiet: 0 })): Lease {
  const connection = { state: 'lent', loan: 1, trace } as unknown as Connection
  return { connection, pool, loan: 1, isPlain: true }
}

const plainOf = (...leases: Lease[]): PlainLeases => {
  const plain = new PlainLeases()
  for (const lease of leases) plain.add(lease)
  return plain
}

const matched = (plain: PlainLeases, line: string | readonly Frame[]) =>
  plain
    .matches(typeof line === 'string' ? framesOf(line) : line)
    .map(({ group, isExact, run }) => [group.leases.length, isExact, run.place, run.branch])

describe('who took a plain lease', () => {
  test('is known where the stack at the hand-over names a function, and worked out once', () => {
    assert.equal(takingOf({ trace: undefined }), undefined)
    assert.equal(takingOf({ trace: traceOf(undefined) }), undefined)
    assert.equal(takingOf({ trace: traceOf('') }), undefined)
    const trace = traceOf('task:3 main:20 root:1')
    const taking = takingOf({ trace })
    assert.deepEqual([taking?.taker.func, taking?.callers, taking?.trace === trace], ['task', 2, true])
    assert.equal(takingOf({ trace }), taking)
    assert.notEqual(taking?.key, takingOf({ trace: traceOf('task:3 main:21 root:1') })?.key)
    assert.equal(
      taking?.key,
      takingOf({ trace: traceOf('task:9 main:20 root:1') })?.key,
      'where it stands may change',
    )
  })

  test('is not asked of one that nobody knows', () => {
    const plain = plainOf(leaseOf(undefined), leaseOf(traceOf('')))
    assert.equal(plain.isEmpty, true)
    assert.equal(plainOf(leaseOf(traceOf('task:3'))).isEmpty, false)
  })
})

describe('a stack shows a run that may hold a lease', () => {
  test('where the function that took it stands further down, and its callers where they stood', () => {
    const task = fresh('task')
    const plain = plainOf(leaseOf(traceOf(`${task}:3 main:20`)))
    assert.deepEqual(matched(plain, `read:5 ${task}:9 main:20`), [[1, true, '9', undefined]])
    for (const other of [
      `read:5 ${task}:9 main:21`,
      `read:5 ${task}:3 main:20`,
      `read:5 ${task}:2 main:20`,
      'read:5',
    ])
      assert.deepEqual(matched(plain, other), [], other)
    assert.deepEqual(
      matched(plain, `${task}:9 main:20 root:7`),
      [[1, false, '9', undefined]],
      'with more callers',
    )
    assert.deepEqual(matched(plain, `${task}:9`), [], 'with fewer')
  })

  test('each group of leases that were taken alike once, others apart', () => {
    const task = fresh('task')
    const plain = plainOf(
      leaseOf(traceOf(`${task}:3 main:20`)),
      leaseOf(traceOf(`${task}:3 main:20`)),
      leaseOf(traceOf(`${task}:4 main:20`)),
      leaseOf(traceOf(`${task}:3 other:20`)),
    )
    assert.deepEqual(matched(plain, `${task}:9 main:20`), [
      [2, true, '9', undefined],
      [1, true, '9', undefined],
    ])
    assert.deepEqual(matched(plain, `${task}:4 main:20`), [[2, true, '4', undefined]])
  })

  test('a recursive function may hold it in each of its runs', () => {
    const task = fresh('task')
    const plain = plainOf(leaseOf(traceOf(`${task}:3`)))
    assert.deepEqual(matched(plain, `${task}:5 ${task}:9`), [
      [1, false, '5', undefined],
      [1, true, '9', undefined],
    ])
  })

  test('not beyond a Promise.any, which goes on without this branch', () => {
    const task = fresh('task')
    const plain = plainOf(leaseOf(traceOf(`${task}:3`)))
    assert.deepEqual(matched(plain, [frame('Promise.any:0', { joins: true }), frame(`${task}:9`)]), [])
    assert.deepEqual(matched(plain, [frame(`${task}:9`), frame('Promise.any:0')]).length, 1)
  })

  test('with its branch where it waits for several at a time', () => {
    const task = fresh('task')
    const plain = plainOf(leaseOf(traceOf(`${task}:3`)))
    const all = [frame('read:5'), frame('Promise.all:1', { joins: true }), frame(`${task}:9`)]
    const [[, , , branch] = []] = matched(plain, all)
    assert.equal(branch, '\nread 5\nPromise.all 1')
    const behind = [frame('read:5'), frame(`${task}:9`), frame('Promise.all:1', { joins: true })]
    assert.deepEqual(matched(plain, behind)[0]?.[3], undefined)
  })

  test('by the position of the call where the function has not been suspended since', () => {
    const task = fresh('task')
    // It awaited in column 3, but the call itself stands in column 8 of the same statement.
    const plain = plainOf(leaseOf(traceOf(`${task}:3`, `helper:1 ${task}:8`)))
    const running = (line: number): Frame[] => [frame(`${task}:${line}`, { async: false })]
    assert.deepEqual([matched(plain, running(8)).length, matched(plain, running(9)).length], [0, 1])
    assert.equal(matched(plain, `${task}:4`).length, 1)
    const unknown = plainOf(leaseOf(traceOf(`${task}:3`, 'helper:1')))
    assert.deepEqual([matched(unknown, running(3)).length, matched(unknown, running(4)).length], [0, 1])
    // An outer run of it, which only awaited the acquire, says nothing of where the call stood.
    const outer = traceOf(`${task}:3`, 'helper:1')
    Object.assign(outer, { frames: [...outer.frames, frame(`${task}:8`)] })
    assert.equal(matched(plainOf(leaseOf(outer)), running(4)).length, 1)
  })

  test('not where its loans are always back by then, or given back by other code', () => {
    const [task, other] = [fresh('task'), fresh('task')]
    const trace = traceOf(`${task}:3`)
    const plain = plainOf(leaseOf(trace))
    recordRelease(trace, { frames: [] } as unknown as StackTrace)
    assert.equal(matched(plain, `${task}:9`).length, 1, 'the pool itself ended it')
    recordRelease(traceOf(undefined), traceOf(undefined, `${task}:5`))
    recordRelease(trace, traceOf(undefined, `helper:2 ${task}:6`))
    assert.deepEqual([matched(plain, `${task}:6`).length, matched(plain, `${task}:7`).length], [1, 0])
    recordRelease(trace, traceOf(undefined, `${task}:5`))
    assert.equal(matched(plain, `${task}:6`).length, 1, 'the position furthest down counts')
    const elsewhere = traceOf(`${other}:3`)
    recordRelease(elsewhere, traceOf(undefined, 'cleaner:1'))
    assert.equal(matched(plainOf(leaseOf(elsewhere)), `${other}:4`).length, 0)
  })
})

describe('what waiters may hold, by stacks and silence', () => {
  interface Waiting {
    readonly line: string | readonly Frame[] | undefined
    readonly since?: number
  }
  function edges(pool: PoolNode, ...waiting: Waiting[]): WaitEdge[] {
    return waiting.map(({ line, since = 0 }) => {
      const frames = typeof line === 'string' ? framesOf(line) : line
      const awaiters = frames === undefined ? undefined : { chain: { frames } }
      return { waiter: { since, awaiters } as unknown as Wait, pool, blocks: [] }
    })
  }
  const claimed = (plain: PlainLeases, all: readonly WaitEdge[]): [leases: number, waits: number][] =>
    claimsOf(plain, all).map(({ leases, waits }) => [leases.length, waits.length])

  test('as many runs have to wait as leases are out, each for long enough', () => {
    const task = fresh('task')
    const still = { stood: PLAIN_GRACES, quiet: PLAIN_GRACES }
    const pool = poolOf(still)
    const [first, second] = [leaseOf(traceOf(`${task}:3`), pool), leaseOf(traceOf(`${task}:3`), pool)]
    const plain = plainOf(first, second)
    const one = { line: `${task}:9` }
    assert.deepEqual(claimed(new PlainLeases(), edges(pool, one, one)), [])
    assert.deepEqual(claimed(plain, edges(pool, one, { line: undefined }, { line: 'other:1' })), [])
    const unanswered = {
      waiter: { since: 0, awaiters: { chain: undefined } } as unknown as Wait,
      pool,
      blocks: [],
    }
    assert.deepEqual(claimed(plain, [...edges(pool, one), unanswered]), [], 'asked, without an answer yet')
    assert.deepEqual(claimed(plain, edges(pool, one, one)), [[2, 2]])
    assert.deepEqual(claimed(plain, edges(pool, one, { ...one, since: 1 })), [], 'one has just come')
    assert.deepEqual(claimed(plain, edges(pool, one, one, { ...one, since: 1 })), [[2, 3]])
    Object.assign(second.connection, { loan: 2 })
    assert.deepEqual(claimed(plain, edges(pool, one)), [[1, 1]], 'that loan has ended')
    Object.assign(second.connection, { loan: 1, state: 'idle' })
    assert.deepEqual(claimed(plain, edges(pool, one)), [[1, 1]])
    still.quiet = PLAIN_GRACES - 1
    assert.deepEqual(claimed(plain, edges(pool, one)), [[0, 1]], 'there was traffic')
    still.quiet = PLAIN_GRACES
    still.stood = PLAIN_GRACES - 1
    assert.deepEqual(claimed(plain, edges(pool, one)), [])
  })

  test('a pool that has moved keeps its own lease out of the claim', () => {
    const task = fresh('task')
    const waited = poolOf({ stood: PLAIN_GRACES, quiet: PLAIN_GRACES })
    const moving = poolOf({ stood: PLAIN_GRACES - 1, quiet: PLAIN_GRACES })
    const plain = plainOf(leaseOf(traceOf(`${task}:3`), moving))
    assert.deepEqual(claimed(plain, edges(waited, { line: `${task}:9` })), [[0, 1]])
  })

  test('a crowd whose takers all wait under the same callers is believed sooner', () => {
    const task = fresh('task')
    const pool = poolOf({ stood: CROWD_GRACES, quiet: CROWD_GRACES })
    const lease = () => leaseOf(traceOf(`${task}:3`), pool)
    const leases = Array.from({ length: CROWD }, lease)
    const lines = (count: number, line: Waiting['line'] = `${task}:9`): Waiting[] =>
      Array.from({ length: count }, () => ({ line }))
    assert.deepEqual(claimed(plainOf(...leases), edges(pool, ...lines(CROWD))), [[CROWD, CROWD]])
    assert.deepEqual(
      claimed(plainOf(...leases.slice(1)), edges(pool, ...lines(CROWD - 1))),
      [],
      'one too few',
    )
    assert.deepEqual(
      claimed(plainOf(...leases), edges(pool, ...lines(CROWD + 1))),
      [],
      'one more than leases',
    )
    const deeper = lines(1, `${task}:9 main:1`)
    assert.deepEqual(
      claimed(plainOf(...leases), edges(pool, ...lines(CROWD - 1), ...deeper)),
      [],
      'other callers',
    )
    const joined = [frame('Promise.all:1', { joins: true }), frame(`${task}:9`)]
    assert.deepEqual(claimed(plainOf(...leases), edges(pool, ...lines(CROWD - 1), ...lines(1, joined))), [])
  })

  test('several groups make a crowd together, and one that is none does not profit from it', () => {
    const [task, other, odd] = [fresh('task'), fresh('task'), fresh('task')]
    const pool = poolOf({ stood: CROWD_GRACES, quiet: CROWD_GRACES })
    const half = (name: string) =>
      Array.from({ length: CROWD / 2 }, () => leaseOf(traceOf(`${name}:3`), pool))
    const waits = (name: string, count: number): Waiting[] =>
      Array.from({ length: count }, () => ({ line: `${name}:9` }))
    const plain = plainOf(...half(task), ...half(other), leaseOf(traceOf(`${odd}:3`), pool))
    const all = edges(pool, ...waits(task, CROWD / 2), ...waits(other, CROWD / 2), ...waits(odd, 2))
    assert.deepEqual(claimed(plain, all), [
      [CROWD / 2, CROWD / 2],
      [CROWD / 2, CROWD / 2],
    ])
  })

  test('branches of one Promise.all are one run, unless several wait in the same branch', () => {
    const task = fresh('task')
    const pool = poolOf({ stood: PLAIN_GRACES, quiet: PLAIN_GRACES })
    const branch = (index: number, line = 9): Waiting => ({
      line: [frame(`Promise.all:${index}`, { joins: true }), frame(`${task}:${line}`)],
    })
    const plain = plainOf(leaseOf(traceOf(`${task}:3`), pool), leaseOf(traceOf(`${task}:3`), pool))
    assert.deepEqual(claimed(plain, edges(pool, branch(0), branch(1))), [])
    assert.deepEqual(claimed(plain, edges(pool, branch(0), branch(0))), [[2, 2]])
    assert.deepEqual(claimed(plain, edges(pool, branch(0), branch(0), branch(1))), [[2, 3]])
    assert.deepEqual(
      claimed(plain, edges(pool, branch(0), branch(0, 11))),
      [[2, 2]],
      'they stand at two places',
    )
    assert.deepEqual(claimed(plain, edges(pool, branch(0), { line: `${task}:9` })), [[2, 2]])
  })

  test('a run holds one lease of a statement, that of the most callers', () => {
    const task = fresh('task')
    const pool = poolOf({ stood: PLAIN_GRACES, quiet: PLAIN_GRACES })
    const lease = (owners: string): Lease => leaseOf(traceOf(owners), pool)
    const line = `${task}:9 main:20 root:1`
    for (const leases of [
      [lease(`${task}:3`), lease(`${task}:3 main:20 root:1`)],
      [lease(`${task}:3 main:20 root:1`), lease(`${task}:3`)],
    ]) {
      const [first] = claimsOf(plainOf(...leases), edges(pool, { line }))
      assert.deepEqual(first?.leases, [leases.find(({ connection }) => takingOf(connection)?.callers === 2)])
      assert.deepEqual(claimed(plainOf(...leases), edges(pool, { line })), [[1, 1]])
      assert.deepEqual(claimed(plainOf(...leases), edges(pool, { line }, { line })), [
        [1, 2],
        [1, 2],
      ])
      assert.deepEqual(claimed(plainOf(...leases), edges(pool, { line }, { line: `${task}:9` })).length, 2)
    }
    const inTwo = [lease(`${task}:3 main:20`), lease(`${task}:4 main:20`)]
    assert.deepEqual(
      claimed(plainOf(...inTwo), edges(pool, { line })).length,
      2,
      'of two statements, one each',
    )
    const three = [lease(`${task}:3 main:20 root:1`), lease(`${task}:3 main:20`), lease(`${task}:3`)]
    assert.deepEqual(claimed(plainOf(...three), edges(pool, { line }, { line })).length, 2)
  })

  test('nor does it hold two because it waits in two branches', () => {
    const task = fresh('task')
    const pool = poolOf({ stood: PLAIN_GRACES, quiet: PLAIN_GRACES })
    const branch = (index: number): Waiting => ({
      line: [frame(`Promise.all:${index}`, { joins: true }), frame(`${task}:9`), frame('main:20')],
    })
    const plain = plainOf(leaseOf(traceOf(`${task}:3`), pool), leaseOf(traceOf(`${task}:3 main:20`), pool))
    assert.deepEqual(claimed(plain, edges(pool, branch(0), branch(1))), [[1, 2]])
    assert.deepEqual(claimed(plain, edges(pool, branch(0), branch(0))).length, 2)
  })
})

test('runs with different callers are different ones, though each waits in several branches', () => {
  const task = fresh('task')
  const pool = poolOf({ stood: PLAIN_GRACES, quiet: PLAIN_GRACES })
  const lease = (...callers: string[]): Lease => leaseOf(traceOf([`${task}:3`, ...callers].join(' ')), pool)
  const branches = (...callers: string[]): WaitEdge[] =>
    [0, 1, 2].map(index => {
      const frames = [
        frame(`Promise.all:${index}`, { joins: true }),
        frame(`${task}:9`),
        ...callers.map(caller => frame(caller)),
      ]
      const waiter = { since: 0, awaiters: { chain: { frames } } } as unknown as Wait
      return { waiter, pool, blocks: [] }
    })
  const claimed = (leases: Lease[], edges: WaitEdge[]): [number, number][] =>
    claimsOf(plainOf(...leases), edges).map(({ leases, waits }) => [leases.length, waits.length])
  const both = [...branches('main:20'), ...branches('main:21')]
  assert.deepEqual(claimed([lease('main:20'), lease('main:21')], both), [
    [1, 3],
    [1, 3],
  ])
  // Two of three leases are taken to be held by them: there is nobody for the third.
  assert.deepEqual(claimed([lease('main:20'), lease('main:21'), lease()], both), [
    [1, 3],
    [1, 3],
  ])
  assert.deepEqual(claimed([lease('main:20'), lease()], [...both, ...branches()]).length, 2)
  const alike = [...branches('main:20', 'root:1'), ...branches('main:2')]
  assert.deepEqual(
    claimed([lease('main:2'), lease('main:20', 'root:1')], alike).length,
    2,
    'main 2 is not main 20',
  )
})

test('a function that is only now being called holds nothing yet', () => {
  const stack = (...begun: boolean[]): StackTrace =>
    ({ frames: begun.map((each, index) => frame(`f:${index}`, { begun: each })) }) as unknown as StackTrace
  const places = (trace: StackTrace): string[] => framesBegunBefore(trace).map(({ place }) => place)
  assert.deepEqual(places(stack(false, false, true, false, true)), ['2', '3', '4'])
  assert.deepEqual(places(stack(true, true)), ['0', '1'])
  assert.deepEqual(places(stack(false)), [])
})
