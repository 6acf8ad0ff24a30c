/* What one pool does about nested acquires, with records for connections and stacks. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPool } from '../../src/index.ts'
import type { Connection, Lease, NestingHost, UseFrame, Work } from '../../src/nested/host.ts'
import { Nesting } from '../../src/nested/nesting.ts'
import { PlainLeases } from '../../src/nested/plain-leases.ts'
import { addFrame, nextNumber } from '../../src/nested/process-wide.ts'
import type { Frame, StackTrace } from '../../src/runtime/stack-trace.ts'
import { FakeClock } from '../support/clock.ts'

const double = createPool({ create: () => ({}), destroy: () => {} }, { autostart: false })
const kept: object[] = []
let functions = 0

const frameOf = (func: string, line: number, begun = true): Frame => ({
  ...{ func, place: `${func}:${line}`, position: line, async: true, begun, joins: false, lease: undefined },
  text: func,
})

/** The stack of an acquire that was handed over to this function. */
const takenBy = (func: string): StackTrace =>
  ({ text: `at ${func}`, place: `${func}:3`, frames: [], owners: { frames: [frameOf(func, 3)] } }) as never

/** The stack of an acquire that is being asked for. */
const asking = (place: string, leases: readonly number[], ...frames: Frame[]): StackTrace =>
  ({ text: `at ${place}`, place, leases, frames }) as never

function nestingOf(nested: 'detect' | 'forbid' | 'reuse') {
  const clock = new FakeClock()
  const all = new Set<Connection>()
  const counts = { lent: 0 }
  const totals = { nested: 0 }
  const sampler = { shows: true }
  const events: Record<string, unknown>[] = []
  const host = {
    ...{ clock, totals, sampler, options: { nested, name: 'one', max: 2, deadlockGraceMillis: 50 } },
    slots: { all, counts, permitsInUse: 0 },
    events: { announce: (_: string, details: Record<string, unknown>) => void events.push(details) },
    stats: () => double.stats(),
  }
  const nesting = new Nesting(host as unknown as NestingHost<object>, { late: () => false })
  const lend = (trace?: StackTrace): Connection => {
    const connection = {
      state: 'lent',
      loan: 1,
      resource: {},
      trace,
      frame: undefined,
    } as unknown as Connection
    all.add(connection)
    counts.lent += 1
    return connection
  }
  /** @returns the frame of a `use` that has this connection */
  const use = (connection: Connection): UseFrame => {
    const frame = {
      ...{ number: nextNumber(), connection, pool: nesting.detector, loan: 1, users: 1 },
      run: async <R>(work: Work<R>, on: Connection | undefined) => work(on as never),
    } as unknown as UseFrame
    connection.frame = frame
    kept.push(frame)
    addFrame(frame)
    return frame
  }
  return { clock, nesting, lend, use, totals, sampler, events }
}

const fresh = (): string => {
  functions += 1
  return `worker${functions}`
}

/** Does a run of the function that stands further down look as if it still held the connection? */
function looksLikeHolder(trace: StackTrace, func: string): boolean {
  const plain = new PlainLeases()
  plain.add({ connection: { trace }, loan: 1, isPlain: true } as unknown as Lease)
  return plain.matches([frameOf(func, 9)]).length > 0
}

test('a nested use is counted each time and told once for each pair of call sites', () => {
  const { clock, nesting, lend, use, totals, events, sampler } = nestingOf('detect')
  const { number } = use(lend(takenBy(fresh())))
  const bare = use(lend()).number
  const now = clock.now()
  nesting.warnIfNested(asking('a', []), undefined, now)
  nesting.warnIfNested(asking('a', [number]), { detached: true }, now)
  assert.deepEqual([totals.nested, events], [0, []])
  for (const place of ['a', 'a', 'b']) nesting.warnIfNested(asking(place, [number]), undefined, now)
  assert.deepEqual([totals.nested, events.length], [3, 2])
  const [{ pool, heldPools, heldStacks, waitStack } = {}] = events
  assert.deepEqual([pool, heldPools, waitStack], ['one', ['one'], 'at a'])
  assert.match(String(heldStacks), /^at worker/)
  nesting.warnIfNested(asking('a', [bare]), undefined, now)
  assert.deepEqual(events[2]?.heldStacks, [''], 'its stack was not taken')
  nesting.warnIfNested(asking('', [bare]), undefined, now)
  nesting.warnIfNested(asking('', [bare]), undefined, now)
  assert.equal(events.length, 4, 'nor was that of the call')
  sampler.shows = false
  nesting.warnIfNested(asking('c', [number]), undefined, now)
  assert.deepEqual([events[4]?.heldStacks, events[4]?.waitStack], [[], ''])
})

test('a nested plain acquire is told where only one lease was taken at the statement, under the same callers', () => {
  const { clock, nesting, lend, use, events } = nestingOf('detect')
  const [func, other] = [fresh(), fresh()]
  lend(takenBy(func))
  let places = 0
  const warned = (...frames: Frame[]): number => {
    places += 1
    nesting.warnIfNested(asking(`place ${places}`, [], ...frames), undefined, clock.now())
    return events.splice(0).length
  }
  assert.equal(warned(frameOf('read', 1, false), frameOf(func, 9)), 1)
  assert.equal(warned(frameOf(func, 9, false)), 0, 'that run is only being called')
  assert.equal(warned(frameOf(func, 9), frameOf('main', 1)), 0, 'other callers')
  lend(takenBy(func))
  assert.equal(warned(frameOf(func, 9)), 0, 'any of two could be its own')
  use(lend(takenBy(other)))
  assert.equal(warned(frameOf(other, 9)), 0, 'that of a use is told by its name alone')
})

test('twenty stacks are read at once, then fifty in a second, and a thousand sites are remembered', () => {
  const { clock, nesting, lend, use, totals, events } = nestingOf('detect')
  const { number } = use(lend())
  let now = clock.now()
  for (let site = 0; site < 30; site += 1) nesting.warnIfNested(asking(`s${site}`, [number]), undefined, now)
  assert.deepEqual([totals.nested, events.length], [20, 20])
  nesting.warnIfNested(asking('s99', [number]), undefined, now + 10)
  assert.equal(totals.nested, 20)
  for (let site = 100; site < 2000; site += 1) {
    now += 20
    nesting.warnIfNested(asking(`s${site}`, [number]), undefined, now)
  }
  assert.deepEqual([totals.nested, events.length], [1920, 1000])
})

test('with many leases fewer stacks are read, and with very many none is compared', () => {
  const { clock, nesting, lend, totals } = nestingOf('detect')
  const func = fresh()
  lend(takenBy(func))
  let [now, places] = [clock.now(), 0]
  /** How many nested acquires of different places are told, of a hundred in two seconds. */
  const told = (): number => {
    const before = totals.nested
    for (let call = 0; call < 100; call += 1) {
      now += 20
      places += 1
      nesting.warnIfNested(asking(`place ${places}`, [], frameOf(func, 9)), undefined, now)
    }
    return totals.nested - before
  }
  assert.equal(told(), 100, 'one lease costs nothing')
  const lendMore = (count: number) => {
    for (let lease = 0; lease < count; lease += 1) lend(takenBy(fresh()))
  }
  lendMore(99)
  const withHundred = told()
  lendMore(900)
  const withThousand = told()
  lendMore(1)
  now += 600_000
  assert.deepEqual([withHundred, withThousand, told()], [10, 1, 0])
})

test('the end of a loan is a sign of life, and where it came back is remembered for a sample', () => {
  const { clock, nesting } = nestingOf('detect')
  const taken = Array.from({ length: 21 }, () => {
    const func = fresh()
    return { func, trace: takenBy(func) }
  })
  nesting.loanEnded(undefined, clock.now())
  nesting.loanEnded({ frames: [], owners: undefined } as never, clock.now())
  assert.equal(nesting.detector.lastSign, clock.now())
  for (const { func, trace } of taken) assert.equal(looksLikeHolder(trace, func), true)
  for (const { trace } of taken) nesting.loanEnded(trace, clock.now() + 1)
  assert.equal(nesting.detector.lastSign, clock.now() + 1)
  assert.deepEqual(
    taken.map(({ func, trace }) => looksLikeHolder(trace, func)),
    taken.map((_, index) => index === 20),
    'released by other code, but for the one beyond the burst',
  )
  const late = taken[20] as (typeof taken)[number]
  for (const [millis, isRemembered] of [
    [20, false],
    [22, true],
  ] as const) {
    nesting.loanEnded(late.trace, clock.now() + millis)
    assert.equal(looksLikeHolder(late.trace, late.func), !isRemembered, 'fifty a second')
  }
})

test('a pool that only detects leaves nothing in the async context, where others would find it', async () => {
  const [plain, strict] = [nestingOf('detect'), nestingOf('forbid')]
  const connection = plain.lend()
  const refusal = () => strict.nesting.refusal(undefined, refusal)
  const look = (() => assert.equal(refusal(), undefined)) as never
  await plain.nesting.run(plain.use(connection), look, connection, undefined)
})

test('under forbid an acquire is refused for what its stack or its context holds', async () => {
  const { nesting, lend, use, totals, sampler } = nestingOf('forbid')
  const connection = lend(takenBy(fresh()))
  const frame = use(connection)
  const refusal = (given?: object) => nesting.refusal(given as never, refusal)
  assert.equal(refusal(), undefined)
  const inside = { [`lease ${frame.number}`]: () => refusal() }
  assert.equal(inside[`lease ${frame.number}`]?.()?.code, 'POOL_NESTED_ACQUIRE')
  await nesting.run(
    frame,
    (() => {
      assert.equal(refusal()?.code, 'POOL_NESTED_ACQUIRE')
      assert.equal(refusal({ detached: true }), undefined)
      sampler.shows = false
      assert.doesNotMatch(refusal()?.message ?? '', /Held since/)
    }) as never,
    connection,
    undefined,
  )
  assert.equal(totals.nested, 3)
  assert.equal(nesting.share((() => {}) as never, undefined), undefined)
  assert.equal(nestingOf('detect').nesting.refusal(undefined, refusal), undefined)
  assert.equal(nestingOf('detect').nesting.plainScope(undefined), undefined)
  assert.equal(nestingOf('reuse').nesting.plainScope(undefined), undefined)
})

test('under reuse a nested use runs on the connection around it, and is counted if it does', async () => {
  const { nesting, lend, use, totals } = nestingOf('reuse')
  const connection = lend()
  const frame = use(connection)
  const work = (async (on: unknown) => on) as never
  assert.equal(nesting.share(work, undefined), undefined)
  assert.equal(totals.nested, 0)
  await nesting.run(
    frame,
    (async () => {
      assert.equal(nesting.share(work, { detached: true }), undefined)
      assert.equal(await nesting.share(work, undefined), connection)
    }) as never,
    connection,
    undefined,
  )
  assert.equal(totals.nested, 1)
  const plain = nestingOf('detect')
  const lent = plain.lend()
  assert.equal(await plain.nesting.run(plain.use(lent), work, lent, undefined), lent)
  assert.equal(plain.nesting.share(work, undefined), undefined)
})
