import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Heap } from '../../src/runtime/time/heap.ts'
import { Chance, seedFrom } from '../support/random.ts'

interface Entry {
  readonly deadline: number
}

const deadlinesOf = (entries: readonly Entry[]): number[] =>
  entries.map(({ deadline }) => deadline).sort((a, b) => a - b)

function emptied(heap: Heap<Entry>): Entry[] {
  const all: Entry[] = []
  for (let entry = heap.pop(); entry !== undefined; entry = heap.pop()) all.push(entry)
  return all
}

test('an empty heap gives nothing, again and again', () => {
  const heap = new Heap<Entry>()
  for (let time = 0; time < 2; time += 1) {
    assert.equal(heap.first(), undefined)
    assert.equal(heap.pop(), undefined)
    assert.equal(heap.size, 0)
  }
})

test('the last entry is let go of: what left is not kept in memory', () => {
  const heap = new Heap<Entry>()
  const only = { deadline: 1 }
  heap.push(only)
  assert.equal(heap.first(), only)
  assert.equal(heap.pop(), only)
  assert.equal(heap.first(), undefined)
  assert.equal(heap.size, 0)
})

test('entries without any limit come last', () => {
  const heap = new Heap<Entry>()
  for (const deadline of [Number.POSITIVE_INFINITY, 3, Number.POSITIVE_INFINITY, 1]) heap.push({ deadline })
  assert.deepEqual(
    emptied(heap).map(({ deadline }) => deadline),
    [1, 3, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
  )
})

test('every order of seven entries, two of them alike, comes out in order', () => {
  const permute = (rest: readonly number[], taken: readonly number[]): void => {
    if (rest.length > 0) {
      for (const [index, next] of rest.entries()) permute(rest.toSpliced(index, 1), [...taken, next])
      return
    }
    const heap = new Heap<Entry>()
    for (const deadline of taken) heap.push({ deadline })
    assert.deepEqual(
      emptied(heap).map(({ deadline }) => deadline),
      [1, 2, 3, 3, 4, 5, 6],
      `pushed ${taken}`,
    )
  }
  permute([1, 2, 3, 3, 4, 5, 6], [])
})

test('whatever is pushed, popped and dropped, it gives what a sorted list gives', t => {
  const seed = seedFrom('LIFEGUARD_SEED')
  t.diagnostic(`LIFEGUARD_SEED=${seed}`)
  const chance = new Chance(seed)
  for (let round = 0; round < 300; round += 1) {
    const heap = new Heap<Entry>()
    let list: Entry[] = []
    const range = chance.pick([3, 50, 1e6])
    for (let step = 0; step < 100; step += 1) {
      const what = chance.below(20)
      if (what === 0) {
        const keep = (entry: Entry): boolean => entry.deadline % 2 === 0
        heap.retain(keep)
        list = list.filter(keep)
      } else if (what < 8) {
        const popped = heap.pop()
        assert.equal(popped?.deadline, deadlinesOf(list)[0])
        list = list.filter(entry => entry !== popped)
      } else {
        const entry = { deadline: chance.below(range) }
        heap.push(entry)
        list.push(entry)
      }
      assert.equal(heap.size, list.length)
      assert.equal(heap.first()?.deadline, deadlinesOf(list)[0])
    }
    assert.deepEqual(
      emptied(heap).map(({ deadline }) => deadline),
      deadlinesOf(list),
    )
  }
})

test('those of one timeout leave as they came, also with equal deadlines and after others were dropped', () => {
  const heap = new Heap<{ readonly deadline: number; readonly name: number }>()
  const kept = (name: number): boolean => name % 5 !== 0
  for (let name = 0; name < 5000; name += 1) heap.push({ deadline: Math.floor(name / 7), name })
  heap.retain(({ name }) => kept(name))
  const names: number[] = []
  for (let entry = heap.pop(); entry !== undefined; entry = heap.pop()) names.push(entry.name)
  assert.deepEqual(names, [...Array(5000).keys()].filter(kept))
})
