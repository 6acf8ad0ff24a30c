import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { StackSampler } from '../../src/runtime/stack-sampler.ts'

/** Loans of which none waits, ten of them each millisecond: how many have their stack taken. */
function sampled(
  sampler: StackSampler,
  from: number,
  millis: number,
  isPlain: (loan: number) => boolean,
): number {
  let taken = 0
  for (let loan = 0; loan < millis * 10; loan += 1) {
    const now = from + loan / 10
    if (sampler.left <= 0 && now < sampler.refillAt) continue
    sampler.capture(sampled, now, isPlain(loan))
    taken += 1
  }
  return taken
}

const samplerOf = (
  captureStacks: 'off' | 'sampled' | 'all',
  nested: 'allow' | 'detect' = 'detect',
  max = 10,
) => new StackSampler({ captureStacks, nested, max }, 0)

describe('a service with ten thousand loans a second', () => {
  test('has the stacks of the first 200 taken, then of a thousand plain loans a second', () => {
    const sampler = samplerOf('sampled')
    assert.equal(
      sampled(sampler, 0, 20, () => true),
      200,
    )
    const later = sampled(sampler, 20, 1000, () => true)
    assert.ok(later >= 950 && later <= 1200, `${later}`)
  })

  test('of three for each connection where those are more', () => {
    assert.equal(
      sampled(samplerOf('sampled', 'detect', 300), 0, 90, () => true),
      900,
    )
  })

  test('where all loans are by use, whose holders are known without: of 200 a second', () => {
    const sampler = samplerOf('sampled')
    assert.equal(
      sampled(sampler, 0, 20, () => false),
      200,
    )
    const later = sampled(sampler, 20, 1000, () => false)
    assert.ok(later >= 190 && later <= 201, `${later}`)
  })

  test('and as soon as a plain loan comes among them, as many as without', () => {
    const sampler = samplerOf('sampled')
    sampled(sampler, 0, 1000, () => false)
    const mixed = sampled(sampler, 1000, 1000, loan => loan % 2 === 0)
    assert.ok(mixed >= 950, `${mixed}`)
  })
})

test('all stacks where they are asked for, and none where nobody needs them', () => {
  assert.equal(
    sampled(samplerOf('all'), 0, 100, () => false),
    1000,
  )
  assert.equal(
    sampled(samplerOf('off', 'allow'), 0, 100, () => true),
    0,
  )
  assert.equal(samplerOf('off', 'allow').shows, false)
  assert.equal(
    sampled(samplerOf('off'), 0, 20, () => true),
    200,
    'the search for deadlocks needs them',
  )
})
