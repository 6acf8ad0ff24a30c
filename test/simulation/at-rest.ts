/* How a pool has to be when everything has come to its end. */

import assert from 'node:assert/strict'
import { type Pool, partsOf } from '../../src/pool/pool.ts'
import type { StepClock } from './step-clock.ts'

/** The pool is closed, and everything has been answered. */
export function assertAtRest<T>(
  pool: Pool<T>,
  server: { readonly opened: number; readonly closed: number },
  clock: Pick<StepClock, 'due' | 'turnsPending'>,
): void {
  const { context, connector } = partsOf(pool)
  const { capacity } = connector
  assert.equal(server.opened, server.closed, 'opened = closed at the end')
  assert.equal(context.slots.all.size, 0, 'no slot is left')
  assert.equal(context.queue.waiting, 0, 'nobody waits')
  assert.equal(capacity.connects.size + capacity.checks.size, 0, 'nothing is expected any more')
  assert.equal(capacity.awaitsEventLoop, false, 'nothing waits for the event loop')
  assert.deepEqual(clock.due, [], 'no timer is left')
  assert.equal(clock.turnsPending, 0, 'no immediate is left')
}
