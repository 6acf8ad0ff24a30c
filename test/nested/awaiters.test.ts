/* Who awaits an acquire is seen at the moment at which the pool looks: not a microtask too early. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Awaiters, answer, recordOwners, rejectTo } from '../../src/nested/awaiters.ts'
import { StackTrace } from '../../src/runtime/stack-trace.ts'
import { settle } from '../support/clock.ts'

test('a waiter that is asked sees its caller, which follows two microtasks later', async () => {
  const awaiters: Awaiters = { chain: undefined }
  let resolve: (value: unknown) => void = () => {}
  const asking = async (): Promise<unknown> =>
    await new Promise(settled => {
      resolve = settled
    })
  const served = asking()
  resolve(answer(awaiters, Promise.resolve('a connection')))
  await settle()
  assert.match(awaiters.chain?.text ?? '', /asking/)
  assert.equal(await served, 'a connection')
})

test('who awaits an acquire is seen through helpers that only return it, however many', async () => {
  const awaiters: Awaiters = { chain: undefined }
  let resolve: (value: unknown) => void = () => {}
  const pending = new Promise(settled => {
    resolve = settled
  })
  const helper = async (): Promise<unknown> => pending
  const second = async (): Promise<unknown> => helper()
  const third = async (): Promise<unknown> => second()
  const asking = async (): Promise<unknown> => await third()
  const served = asking()
  resolve(answer(awaiters, Promise.resolve('a connection')))
  assert.equal(await served, 'a connection')
  assert.match(awaiters.chain?.text ?? '', /asking/)
  const trace = new StackTrace(settle)
  const lending = async (): Promise<unknown> => recordOwners(Promise.resolve('a connection'), trace)
  const again = async (): Promise<unknown> => lending()
  const borrowing = async (): Promise<unknown> => await again()
  assert.equal(await borrowing(), 'a connection')
  assert.match(trace.owners?.text ?? '', /borrowing/)
})

test('who gets a connection that was free at once is seen through an async helper', async () => {
  const trace = new StackTrace(settle)
  const helper = async (): Promise<string> => recordOwners(Promise.resolve('a connection'), trace)
  const borrowing = async (): Promise<string> => await helper()
  assert.equal(await borrowing(), 'a connection')
  assert.match(trace.owners?.text ?? '', /borrowing/)
})

test('who awaits an acquire that is rejected is seen before it gets the error', async () => {
  let resolve: (value: unknown) => void = () => {}
  const asking = async (): Promise<unknown> =>
    await new Promise(settled => {
      resolve = settled
    })
  const caught = asking().catch((error: Error) => error.message)
  let text = ''
  resolve(
    rejectTo(awaiters => {
      text = awaiters.text
    }, new Error('refused')),
  )
  assert.equal(await caught, 'refused')
  assert.match(text, /asking/)
})
