import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Waiter } from '../../src/queue/waiter.ts'
import type { StackTrace } from '../../src/runtime/stack-trace.ts'
import { settle } from '../support/clock.ts'

type Waiting = Waiter<object>

/** An acquire that a function named `caller` awaits. */
function waiting(): { readonly waiter: Waiting; readonly served: Promise<unknown> } {
  let waiter: Waiting | undefined
  const caller = async (): Promise<unknown> => {
    const request = { priority: 0, timeout: 1000, signal: undefined, detached: false }
    return await new Promise(resolve => {
      waiter = new Waiter(request, 0, 'acquire', resolve)
    })
  }
  const served = caller()
  return { waiter: waiter as Waiting, served }
}

test('a waiter that is asked a thousand times who awaits it still knows its caller', async () => {
  const { waiter, served } = waiting()
  for (let asked = 0; asked < 1000; asked += 1) {
    waiter.ask()
    await settle()
  }
  const chain = waiter.awaiters?.chain
  assert.ok(chain !== undefined)
  assert.match(chain.text, /caller/)
  waiter.grant('a connection')
  assert.equal(await served, 'a connection')
})

test('a waiter that has been served is not asked any more who awaits it', async () => {
  const { waiter, served } = waiting()
  waiter.state = 'granted'
  waiter.grant('a connection')
  waiter.ask()
  assert.equal(waiter.awaiters, undefined)
  assert.equal(await served, 'a connection')
})

test('whoever rejects a waiter is told who awaits it before the caller gets the error', async () => {
  const { waiter, served } = waiting()
  const order: string[] = []
  const error = new Error('refused')
  const caught = served.catch(reason => {
    assert.equal(reason, error)
    order.push('caught')
  })
  waiter.fail(error, (awaiters: StackTrace) => {
    assert.match(awaiters.text, /caller/)
    order.push('told')
  })
  await caught
  assert.deepEqual(order, ['told', 'caught'])
})

test('a waiter is settled once', async () => {
  const { waiter, served } = waiting()
  waiter.grant('a connection')
  waiter.fail(new Error('too late'))
  waiter.grant('another')
  assert.equal(await served, 'a connection')
})

test('a waiter that has left, and that somebody still knows, keeps nothing of its caller alive', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const refs: WeakRef<object>[] = []
  const left = Array.from({ length: 100 }, () => {
    const ofCaller = {}
    refs.push(new WeakRef(ofCaller))
    const request = { priority: 0, timeout: 1000, signal: undefined, detached: false }
    const waiter: Waiting = new Waiter(request, 0, 'acquire', () => void ofCaller)
    waiter.grant('a connection')
    return waiter
  })
  await settle()
  collect()
  const kept = refs.filter(ref => ref.deref() !== undefined).length
  assert.ok(kept < 50, `${kept} of ${left.length}`)
})
