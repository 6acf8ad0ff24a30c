import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rejection } from '../support/rejection.ts'
import { hangUp, setUpWired, type Wired, wire } from './outage-pool.ts'

/*
 * Connections that end before they have been of use: what is made of it, and what is said.
 */

test('the error of a connection that was lent does not say that it was never lent, nor the other way round', async () => {
  for (const wasLent of [true, false]) {
    const { clock, pool, factory } = setUpWired({ max: 1 })
    factory.onCreate.always('held')
    const caller = pool.acquire()
    const dial = await factory.onCreate.call()
    const made = { id: 0, socket: wire() } as Wired
    dial.ok(made)
    if (!wasLent) hangUp(made)
    await clock.advance(5)
    if (wasLent) {
      const held = await caller
      ;(held as Wired).socket.bytesWritten += 4
      hangUp(held)
      void pool.release(held)
    } else caller.catch(() => {})
    const waiting = rejection(pool.acquire({ timeoutMillis: 20 }))
    await clock.advance(30)
    const said = String((await waiting).cause)
    if (wasLent)
      assert.match(said, /ended in its first loan, 5 ms after it was created and before it was of use/)
    else assert.match(said, /ended before it was lent/)
  }
})
