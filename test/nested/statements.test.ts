import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recordRelease } from '../../src/nested/plain-leases.ts'
import { frameOf, looksLikeHolder, stackOf, takenIn } from './written-stacks.ts'

/** More than are remembered, see `MOST_STATEMENTS`. */
const MANY = 25_000

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
