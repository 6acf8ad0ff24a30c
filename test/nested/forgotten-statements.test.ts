import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recordRelease } from '../../src/nested/plain-leases.ts'
import { frameOf, looksLikeHolder, stackOf, takenIn } from './written-stacks.ts'

/** So many are remembered, as in `plain-leases.ts`. */
const MOST_STATEMENTS = 20_000

// The only test of this file: a process begins with nothing.
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
