import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { onAbort, unlessAborted } from '../../src/runtime/abort.ts'
import { backoff } from '../../src/runtime/time/backoff.ts'

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length

test('whoever listens to a signal is called once, at once if it is aborted already, and leaves no listener', () => {
  const abort = new AbortController()
  let calls = 0
  const call = (): void => {
    calls += 1
  }
  const stop = onAbort(abort.signal, call)
  onAbort(abort.signal, call)()
  onAbort(undefined, call)()
  assert.deepEqual([calls, listeners(abort.signal)], [0, 0], 'the same listener is there once')
  stop()
  const end = onAbort(abort.signal, call)
  abort.abort()
  end()
  assert.equal(calls, 1)
  onAbort(abort.signal, call)
  assert.deepEqual([calls, listeners(abort.signal)], [2, 0])
})

test('a promise is left as soon as the signal is aborted; what it gives later, or fails with, harms nobody', async () => {
  const abort = new AbortController()
  assert.equal(await unlessAborted(abort.signal, Promise.resolve(1)), 1)
  await assert.rejects(unlessAborted(abort.signal, Promise.reject(new Error('of its own'))), /of its own/)
  assert.equal(listeners(abort.signal), 0)
  let fail = (_: Error): void => {}
  const late = unlessAborted(
    abort.signal,
    new Promise<never>((_, reject) => {
      fail = reject
    }),
  )
  abort.abort()
  assert.equal(await late, undefined)
  fail(new Error('late'))
  assert.equal(await unlessAborted(abort.signal, new Promise(() => {})), undefined)
  assert.equal(listeners(abort.signal), 0)
})

test('a pause doubles up to the longest, however many rounds there are', () => {
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5000].map(rounds => backoff(rounds, 50, 600)),
    [50, 100, 200, 400, 600, 600],
  )
})
