import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { isPoolError, type Pool } from 'lifeguard-pool'

/** Waits until something holds, for five seconds at most. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 500; tries += 1) {
    if (await holds()) return
    await pause(10)
  }
  assert.fail(`not within five seconds: ${what}`)
}

/** Why connections have ended, in order. */
export function reasonsOf<T>(pool: Pool<T>): string[] {
  const reasons: string[] = []
  pool.on('destroy', ({ reason }) => reasons.push(reason))
  return reasons
}

/** Keeps the event loop from turning. */
export function block(millis: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)
}

export const toldAtOnce =
  (cause: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(isPoolError(error, 'POOL_CONNECT_FAILED'), String(error))
    assert.match(String(error.cause), cause)
    return true
  }
