import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Codel } from '../../src/queue/codel.ts'
import { Chance, seedFrom } from '../support/random.ts'

const TARGET = 50
const INTERVAL = 2000
const NOBODY = Number.POSITIVE_INFINITY

describe('CoDel', () => {
  test('a delay above the target is let pass for an interval, and no longer', () => {
    const codel = new Codel(TARGET, INTERVAL)
    assert.equal(codel.dequeue(0, 400), NOBODY)
    for (let now = 10; now < INTERVAL; now += 10) assert.equal(codel.dequeue(now, 400), NOBODY)
    codel.dequeue(INTERVAL, 400)
    assert.ok(codel.isSlow)
    assert.equal(codel.dequeue(INTERVAL + 10, 400), 2 * TARGET)
  })

  test('the first of an interval is dropped by no means: what came of the last one may have ended', () => {
    const codel = new Codel(TARGET, INTERVAL)
    for (let now = 0; now <= 5 * INTERVAL; now += INTERVAL) assert.equal(codel.dequeue(now, 9999), NOBODY)
    assert.ok(codel.isSlow)
  })

  test('one short delay in an interval shows that the queue was a burst', () => {
    const codel = new Codel(TARGET, INTERVAL)
    codel.dequeue(0, 400)
    codel.dequeue(1000, TARGET)
    codel.dequeue(1500, 400)
    codel.dequeue(INTERVAL, 400)
    assert.ok(!codel.isSlow)
  })

  test('a delay just above the target is not within it', () => {
    const codel = new Codel(TARGET, INTERVAL)
    codel.dequeue(0, TARGET + 1)
    codel.dequeue(INTERVAL, TARGET + 1)
    assert.ok(codel.isSlow)
  })

  test('shedding ends with the first interval that has seen a delay within the target', () => {
    const codel = new Codel(TARGET, INTERVAL)
    codel.dequeue(0, 400)
    codel.dequeue(INTERVAL, 400)
    codel.dequeue(INTERVAL + 1, TARGET - 1)
    assert.equal(codel.dequeue(INTERVAL + 2, 400), 2 * TARGET, 'until the interval is over')
    codel.dequeue(2 * INTERVAL, 400)
    assert.ok(!codel.isSlow)
  })

  test('a queue that was empty starts anew, however long the wait before', () => {
    const codel = new Codel(TARGET, INTERVAL)
    codel.dequeue(0, 400)
    codel.emptied()
    codel.dequeue(INTERVAL, 400)
    assert.ok(!codel.isSlow)
  })

  test('where the youngest go first, having dropped somebody keeps it dropping', () => {
    const codel = new Codel(TARGET, INTERVAL)
    codel.dequeue(0, 400)
    codel.dequeue(INTERVAL, 400)
    codel.dropped()
    codel.dequeue(INTERVAL + 1, 0)
    codel.dequeue(2 * INTERVAL, 0)
    assert.ok(codel.isSlow, 'the delay of the oldest begins anew when those before it are dropped')
    codel.dequeue(2 * INTERVAL + 1, 0)
    codel.dequeue(3 * INTERVAL, 0)
    assert.ok(!codel.isSlow, 'and an interval in which nobody was dropped ends it')
  })

  test('connections that do not come back at all are seen by the poll alone', () => {
    const codel = new Codel(TARGET, INTERVAL)
    assert.equal(codel.stuck(0, 400), NOBODY)
    assert.equal(codel.stuck(INTERVAL / 2, 400), NOBODY)
    assert.equal(codel.stuck(INTERVAL, 400), 2 * TARGET)
  })

  test('somebody served within the interval makes the poll wait', () => {
    const codel = new Codel(TARGET, INTERVAL)
    codel.dequeue(0, 400)
    codel.dequeue(INTERVAL, 400)
    assert.equal(codel.stuck(INTERVAL + 500, 400), NOBODY)
  })

  test('it decides as one that keeps every delay of its interval and looks at all of them', t => {
    const seed = seedFrom('LIFEGUARD_SEED')
    t.diagnostic(`LIFEGUARD_SEED=${seed}`)
    const chance = new Chance(seed)
    for (let round = 0; round < 200; round += 1) {
      const codel = new Codel(TARGET, INTERVAL)
      const reference = new KeepsAll()
      let now = 0
      for (let step = 0; step < 200; step += 1) {
        now += chance.below(chance.oneIn(5) ? 2500 : 60)
        const delay = chance.below(chance.oneIn(3) ? 60 : 400)
        const what = chance.below(10)
        if (what === 0) {
          codel.emptied()
          reference.emptied()
        } else if (what === 1) {
          codel.dropped()
          reference.hasDropped = true
        } else if (what < 4) assert.equal(codel.stuck(now, delay), reference.stuck(now, delay))
        else assert.equal(codel.dequeue(now, delay), reference.dequeue(now, delay))
        assert.equal(codel.isSlow, reference.isSlow)
      }
    }
  })
})

/** The rule as the paper says it: is there a delay in the interval that was within the target? */
class KeepsAll {
  isSlow = false
  hasDropped = false
  #delays = [0]
  #ends = Number.NEGATIVE_INFINITY

  get limit(): number {
    return this.isSlow ? 2 * TARGET : NOBODY
  }

  dequeue(now: number, delay: number): number {
    if (this.#begins(now, delay)) return NOBODY
    this.#delays.push(delay)
    return this.limit
  }

  stuck(now: number, delay: number): number {
    return this.#begins(now, delay) ? this.limit : NOBODY
  }

  emptied(): void {
    this.isSlow = false
    this.hasDropped = false
    this.#delays = [0]
    this.#ends = Number.NEGATIVE_INFINITY
  }

  #begins(now: number, delay: number): boolean {
    if (now < this.#ends) return false
    this.isSlow = this.hasDropped || !this.#delays.some(each => each <= TARGET)
    this.hasDropped = false
    this.#delays = [delay]
    this.#ends = now + INTERVAL
    return true
  }
}
