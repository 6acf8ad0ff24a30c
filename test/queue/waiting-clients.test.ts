/* What other packages take from generic-pool's queue, in a listener of `factoryCreateError`. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Snapshot, WaitQueue } from '../../src/queue/wait-queue.ts'
import { Waiter } from '../../src/queue/waiter.ts'
import { WaitingClients } from '../../src/queue/waiting-clients.ts'
import { StallMonitor } from '../../src/runtime/time/stall-monitor.ts'
import { Stalls } from '../../src/runtime/time/stalls.ts'
import { FakeClock } from '../support/clock.ts'

function clientsOf() {
  const clock = new FakeClock()
  const stalls = new Stalls(new StallMonitor(clock))
  const options = { priorityRange: 2, acquireTimeoutMillis: 1000 }
  const queue = new WaitQueue<object>(options, clock, stalls, true)
  const rejected: [name: string, error: unknown][] = []
  const names = new Map<Waiter<object>, string>()
  queue.listener = {
    snapshot: now => ({ now, cause: undefined }) as Snapshot,
    onRejected: waiter => void rejected.push([names.get(waiter) ?? '', waiter.ownError]),
    onAnyRejected() {},
  }
  const join = (name: string, priority = 0): Waiter<object> => {
    const request = { priority, timeout: 1000, signal: undefined, detached: false }
    const waiter = new Waiter<object>(request, clock.now(), 'acquire', () => {})
    names.set(waiter, name)
    queue.enqueue(waiter)
    return waiter
  }
  return { queue, clients: new WaitingClients(queue), join, rejected }
}

test('each waiting acquire can be taken once, in the order of service, and keeps waiting until it is rejected', () => {
  const { queue, clients, join, rejected } = clientsOf()
  for (const [name, priority] of [
    ['low', 1],
    ['first', 0],
    ['second', 0],
  ] as const)
    join(name, priority)
  const taken = [clients.dequeue(), clients.dequeue(), clients.dequeue()]
  assert.equal(clients.dequeue(), undefined)
  assert.equal(clients.length, 3)
  assert.equal(queue.waiting, 3)
  for (const [index, each] of taken.entries()) each?.reject(index)
  assert.deepEqual(rejected, [
    ['first', 0],
    ['second', 1],
    ['low', 2],
  ])
  assert.equal(clients.length, 0)
})

test('an acquire that is rejected without a reason still gets an error', () => {
  const { clients, join, rejected } = clientsOf()
  join('first')
  clients.dequeue()?.reject(undefined)
  const [[, error] = []] = rejected
  assert.ok(error instanceof Error)
  assert.match(error.message, /without a reason/)
})

test('an acquire that was served after it had been taken cannot be rejected any more', () => {
  const { queue, clients, join, rejected } = clientsOf()
  const waiter = join('first')
  const taken = clients.dequeue()
  assert.equal(queue.shift(), waiter)
  taken?.reject(new Error('too late'))
  assert.deepEqual(rejected, [])
  assert.equal(waiter.state, 'granted')
  assert.equal(waiter.ownError, undefined)
})
