import assert from 'node:assert/strict'
import { test } from 'node:test'
import { busiestStretch } from '../../src/cli/inspect/profile.ts'

const frame = (functionName: string, url = 'file:///app/work.js') => ({
  ...{ functionName, url, lineNumber: 9, columnNumber: 2 },
})
const nodes = [
  { id: 1, callFrame: frame('(root)', ''), children: [2, 7] },
  { id: 2, callFrame: frame('(idle)', '') },
  { id: 7, callFrame: frame('listOnTimeout', 'node:internal/timers'), children: [3, 6] },
  { id: 3, callFrame: frame('outer'), children: [4, 5] },
  { id: 4, callFrame: frame('inner') },
  { id: 5, callFrame: frame('emit', 'node:events') },
  { id: 6, callFrame: frame('other') },
  { id: 8, callFrame: frame('(garbage collector)', '') },
]
const of = (samples: number[], delta = 1000) =>
  busiestStretch({ nodes, samples, timeDeltas: samples.map(() => delta) })

test('the longest time in one function is found, and where most of it went', () => {
  const found = of([2, 3, 3, 2, 4, 4, 4, 5, 3, 2, 3])
  assert.equal(found?.millis, 5)
  assert.deepEqual(found?.stack, [
    'at inner (file:///app/work.js:10:3)',
    'at outer (file:///app/work.js:10:3)',
  ])
})

test('many short turns of different functions are no long one, though there is no rest between', () => {
  assert.equal(of([3, 6, 3, 6, 3, 6, 6, 3, 6])?.millis, 2)
  assert.equal(of([3, 7, 3, 7, 3])?.millis, 1)
})

test('the garbage collector interrupts nothing', () => {
  assert.equal(of([3, 8, 8, 3, 8, 4])?.millis, 3)
})

test('time in which nobody had a processor does not count as work', () => {
  assert.equal(of([3, 3], 500_000)?.millis, 6)
})

test('a process that rests has none', () => {
  assert.equal(of([2, 2, 1]), undefined)
  assert.equal(of([]), undefined)
})
