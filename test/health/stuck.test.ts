import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { describe, test } from 'node:test'
import { HANDLES } from '../../src/connections/handles.ts'
import { reaperOf, STUCK } from './scripted-reaper.ts'

describe('a lent connection that waits for an answer', () => {
  async function after(millis: number, prepare: (set: ReturnType<typeof reaperOf>) => void) {
    const set = reaperOf()
    const slot = set.add('lent')
    // Traffic is known from its first count on.
    slot.traffic.start(slot.socket as Socket)
    prepare(set)
    set.reaper.start()
    await set.clock.advance(millis)
    return set.seen.stuck
  }

  test('is ended once nothing has come for the time of the option, with what it waits for', async () => {
    assert.deepEqual(await after(STUCK - 1, ({ work }) => Object.assign(work, { busy: true })), [])
    assert.deepEqual(await after(STUCK, ({ work }) => Object.assign(work, { busy: true })), [
      'a command was in progress, and no data has arrived for 3000 ms',
    ])
    assert.deepEqual(await after(STUCK, ({ work }) => Object.assign(work, { busy: 'GET' })), [
      'GET was in progress, and no data has arrived for 3000 ms',
    ])
  })

  test('is not ended without work, or where that is not known', async () => {
    for (const busy of [false, undefined, '', 0, 1, {}, new Error('no')])
      assert.deepEqual(await after(2 * STUCK, ({ work }) => Object.assign(work, { busy })), [], String(busy))
  })

  test('is not ended for a stall, nor while the server has said that it is slow', async () => {
    const stalled: ReturnType<typeof reaperOf>[] = []
    const stall = (set: ReturnType<typeof reaperOf>): void => {
      stalled.push(set)
      Object.assign(set.work, { busy: true, stalled: 1 })
    }
    assert.deepEqual(await after(STUCK, stall), [])
    assert.equal(stalled[0]?.seen.since.at(-1), 1000, 'since nothing has come')
    assert.deepEqual(
      await after(2 * STUCK, ({ work }) => Object.assign(work, { busy: true, isSlow: true })),
      [],
    )
  })

  test('is ended where the factory lends no handles, or cannot tell that the server is slow', async () => {
    for (const handles of [undefined, {}]) {
      const stuck = await after(STUCK, ({ work, factory }) => {
        Object.assign(work, { busy: true })
        Object.assign(factory, { [HANDLES]: handles })
      })
      assert.equal(stuck.length, 1)
    }
  })

  test('is not ended if the question itself has ended its loan', async () => {
    const set = reaperOf()
    const slot = set.add('lent')
    slot.traffic.start(slot.socket as Socket)
    Object.defineProperty(set.work, 'busy', {
      get() {
        if (slot.state === 'lent') set.slots.move(slot, 'idle')
        return true
      },
    })
    set.reaper.start()
    await set.clock.advance(STUCK)
    assert.deepEqual(set.seen.stuck, [])
  })
})
