import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Lease } from '../../src/nested/host.ts'
import { PlainLeases, recordRelease } from '../../src/nested/plain-leases.ts'
import type { Frame, StackTrace } from '../../src/runtime/stack-trace.ts'

/** So many are remembered, as in `plain-leases.ts`. */
const MOST_STATEMENTS = 20_000
const MANY = 25_000

const frameOf = (func: string, position: number): Frame => ({
  ...{ func, position, place: `${func}:${position}`, text: func },
  ...{ async: true, begun: true, joins: false, lease: undefined },
})

const stackOf = (...frames: Frame[]): StackTrace => ({ frames, owners: undefined }) as unknown as StackTrace

/** The stack of an acquire in line 1 of this function, handed over to the same function. */
const takenIn = (func: string): StackTrace =>
  Object.assign(stackOf(frameOf(func, 1)), { owners: stackOf(frameOf(func, 1)) })

/** Does a run of this function that waits in line 9 look as if it held the connection that it took in line 1? */
function looksLikeHolder(func: string): boolean {
  const leases = new PlainLeases()
  leases.add({ connection: { trace: takenIn(func) }, loan: 1, isPlain: true } as unknown as Lease)
  return leases.matches([frameOf(func, 9)]).length > 0
}

// The first test of this file: nothing is remembered yet.
test('the statement whose loans came back longest ago is forgotten first, and not before there are too many', () => {
  const release = (func: string): void => recordRelease(takenIn(func), stackOf(frameOf(func, 2)))
  const first = ['first', 'second', 'third']
  for (const func of first) release(func)
  for (let index = first.length; index < MOST_STATEMENTS; index += 1) release(`statement-${index}`)
  const forgotten = (): string[] => first.filter(looksLikeHolder)
  assert.deepEqual(forgotten(), [])
  release('second')
  assert.deepEqual(forgotten(), [], 'it was known: there is none more')
  release('one more')
  assert.deepEqual(forgotten(), ['first'])
  release('yet another')
  assert.deepEqual(forgotten(), ['first', 'third'], 'the second came back since')
})

test('a process with more acquire statements than are remembered accuses no run that has given its connection back', () => {
  assert.equal(looksLikeHolder('fresh'), true, 'nothing is known of it yet')
  for (let index = 0; index < MANY; index += 1)
    recordRelease(takenIn(`other-${index}`), stackOf(frameOf(`other-${index}`, 2)))
  recordRelease(takenIn('fresh'), stackOf(frameOf('fresh', 2)))
  assert.equal(looksLikeHolder('fresh'), false, 'learned, however many others there are')
})

test('a statement that is in use all the time is not forgotten for those that ran once', () => {
  recordRelease(takenIn('daily'), stackOf(frameOf('daily', 2)))
  for (let index = 0; index < MANY; index += 1) {
    recordRelease(takenIn(`once-${index}`), stackOf(frameOf(`once-${index}`, 2)))
    if (index % 1000 === 0) recordRelease(takenIn('daily'), stackOf(frameOf('daily', 2)))
  }
  assert.equal(looksLikeHolder('daily'), false)
})

test('code that gives connections back elsewhere is still known after many others', () => {
  for (let index = 0; index < MANY; index += 1)
    recordRelease(takenIn(`more-${index}`), stackOf(frameOf(`more-${index}`, 2)))
  recordRelease(takenIn('handed on'), stackOf(frameOf('another function', 2)))
  assert.equal(looksLikeHolder('handed on'), false)
})
