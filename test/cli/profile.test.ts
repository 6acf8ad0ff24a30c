import assert from 'node:assert/strict'
import { test } from 'node:test'
import { busiestStretch } from '../../src/cli/inspect/profile.ts'

const frame = (functionName: string, url = 'file:///app/work.js') => ({
  ...{ functionName, url, lineNumber: 9, columnNumber: 2 },
})
const nodes = [
  { id: 1, callFrame: frame('(root)', ''), children: [2, 3] },
  { id: 2, callFrame: frame('(idle)', '') },
  { id: 3, callFrame: frame('outer'), children: [4, 5] },
  { id: 4, callFrame: frame('inner') },
  { id: 5, callFrame: frame('emit', 'node:events') },
]
const of = (samples: number[], delta = 1000) =>
  busiestStretch({ nodes, samples, timeDeltas: samples.map(() => delta) })

test('the longest time without a pause is found, and where most of it went', () => {
  const found = of([2, 3, 3, 2, 4, 4, 4, 5, 3, 2, 3])
  assert.equal(found?.millis, 5)
  assert.deepEqual(found?.stack, [
    'at inner (file:///app/work.js:10:3)',
    'at outer (file:///app/work.js:10:3)',
  ])
})

test('time in which nobody had a processor does not count as work', () => {
  assert.equal(of([3, 3], 500_000)?.millis, 6)
})

test('a process that rests has none', () => {
  assert.equal(of([2, 2, 1]), undefined)
  assert.equal(of([]), undefined)
})
