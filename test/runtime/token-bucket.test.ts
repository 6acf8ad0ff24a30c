import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TokenBucket } from '../../src/runtime/token-bucket.ts'
import { Chance, seedFrom } from '../support/random.ts'

test('a bucket that has long been left alone holds no more than its size', () => {
  const bucket = new TokenBucket(10, 0.5, 0, 0)
  assert.equal(bucket.level(8), 4)
  assert.equal(bucket.level(1e9), 10)
})

test('what was not spent is not lost: asking does not change what is there', () => {
  const bucket = new TokenBucket(100, 0.25, 3, 1000)
  for (let now = 1000; now < 1040; now += 1) bucket.level(now)
  assert.equal(bucket.level(1040), 13)
})

test('what it is overdrawn by has to come in before there is anything to spend', () => {
  const bucket = new TokenBucket(10, 0.5, 10, 0)
  bucket.spend(15, 0)
  assert.equal(bucket.level(0), -5)
  assert.equal(bucket.evenAt(0), 10)
  assert.equal(bucket.level(9), -0.5)
  assert.equal(bucket.level(10), 0)
})

test('a bucket that is not overdrawn is even now', () => {
  const bucket = new TokenBucket(10, 0.5, 1, 0)
  assert.equal(bucket.evenAt(7), 7)
  bucket.spend(1, 7)
  assert.equal(bucket.evenAt(7), 7)
})

test('a time before the last one takes nothing away', () => {
  const bucket = new TokenBucket(10, 1, 5, 100)
  assert.equal(bucket.level(40), 5)
})

test('millisecond by millisecond, a random bucket holds what one token after the other makes it', t => {
  const seed = seedFrom('LIFEGUARD_SEED')
  t.diagnostic(`LIFEGUARD_SEED=${seed}`)
  const chance = new Chance(seed)
  for (let round = 0; round < 200; round += 1) {
    const size = 1 + chance.below(50)
    // A power of two, so that sums are exact in whatever order.
    const rate = 2 ** -chance.below(6)
    let level = chance.below(size + 1)
    let now = chance.below(1000)
    const bucket = new TokenBucket(size, rate, level, now)
    for (let step = 0; step < 50; step += 1) {
      for (let pause = chance.below(40); pause > 0; pause -= 1) {
        now += 1
        level = Math.min(size, level + rate)
      }
      if (chance.oneIn(2)) {
        const tokens = chance.below(size)
        bucket.spend(tokens, now)
        level -= tokens
      }
      assert.equal(bucket.level(now), level)
      let even = level
      let at = now
      for (; even < 0; at += 1) even += rate
      assert.equal(Math.ceil(bucket.evenAt(now)), at)
    }
  }
})
