/*
 * What a busy machine does to a process: it stands still for a moment, anywhere. Loaded before a test file by
 * `LIFEGUARD_STALLS=1 npm test -- PART`, and into the processes that it starts. A test that fails with it fails one day
 * without it.
 */

import { createHook } from 'node:async_hooks'
import { isMainThread } from 'node:worker_threads'

/** Of so many callbacks and readings of the clock one stands still. */
const ONE_IN = 50
const LEAST_MILLIS = 20
const MOST_MILLIS = 80
/** Of all the time, so that what does much still comes to an end; a test is short, so it starts with some to spend. */
const SHARE = 0.35
const ADVANCE_MILLIS = 200

const cell = new Int32Array(new SharedArrayBuffer(4))
const now = performance.now.bind(performance)
const began = now()
let stalled = 0
let isStalling = false

function standStill(): void {
  if (isStalling || Math.random() * ONE_IN >= 1) return
  if (stalled > ADVANCE_MILLIS + SHARE * (now() - began)) return
  isStalling = true
  const millis = LEAST_MILLIS + Math.random() * (MOST_MILLIS - LEAST_MILLIS)
  // Takes no time of the processor, so that many tests can be checked at once.
  Atomics.wait(cell, 0, 0, millis)
  stalled += millis
  isStalling = false
}

// Not in the runner itself, which only waits.
if (isMainThread && !process.execArgv.includes('--test')) {
  createHook({ before: standStill }).enable()
  performance.now = () => {
    standStill()
    return now()
  }
}
