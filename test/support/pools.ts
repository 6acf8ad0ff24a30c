import { afterEach } from 'node:test'
import type { Factory } from '../../src/api/factory.ts'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { createPool, type Pool } from '../../src/index.ts'

const closers: (() => Promise<void>)[] = []

/** A pool that is closed when its test is over, whatever is still lent. */
export function open<T>(factory: Factory<T>, options?: PoolOptions): Pool<T> {
  const pool = createPool(factory, options)
  closers.push(() => pool.close({ timeoutMillis: 50 }))
  return pool
}

afterEach(async () => {
  for (const close of closers.splice(0)) await close().catch(() => {})
})
