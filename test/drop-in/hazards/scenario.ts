import { isPoolError, messageOf } from '../../../src/api/errors.ts'
import type { Factory } from '../../../src/api/factory.ts'
import type { PoolOptions } from '../../../src/api/options/options.ts'
import type { Settled } from '../../support/factories.ts'

/** What a scenario may ask of either pool. */
export interface AnyPool<T> {
  readonly size: number
  readonly available: number
  readonly borrowed: number
  readonly pending: number
  readonly spareResourceCapacity: number
  on(event: string, listener: (...args: unknown[]) => void): unknown
  acquire(priority?: number): Promise<T>
  release(resource: T): Promise<void>
  destroy(resource: T): Promise<void>
  use<R>(fn: (resource: T) => R | Promise<R>): Promise<R>
  drain(options?: { timeoutMillis?: number }): Promise<unknown>
  clear(): Promise<unknown>
  ready(): Promise<unknown>
  /** Ours only. */
  lease?(): Promise<{ readonly resource: T; release(): Promise<void> }>
}

export type CreatePool = <T>(factory: Factory<T>, options?: PoolOptions & { Promise?: unknown }) => AnyPool<T>

/** What was seen; it travels as JSON. */
export type Fact = string | number | boolean | null | readonly Fact[]
export type Facts = Readonly<Record<string, Fact>>

/** One danger, played against a pool. Facts only: what is right is the test's to say. */
export type Scenario = (createPool: CreatePool) => Promise<Facts>

/** How a call ended, in one word: `fulfilled`, `pending`, a code of ours, or else the error's name and message. */
export function ending(settled: Settled<unknown>): string {
  if (settled.state !== 'rejected') return settled.state
  const { reason } = settled
  if (isPoolError(reason)) return reason.code
  return reason instanceof Error ? `${reason.name}: ${reason.message}` : messageOf(reason)
}

/** The message of the error behind the error. */
export function causeOf(settled: Settled<unknown>): string | null {
  if (settled.state !== 'rejected' || !(settled.reason instanceof Error)) return null
  return settled.reason.cause === undefined ? null : messageOf(settled.reason.cause)
}

/** Borrows and returns so many times, one after the other. @returns how often that worked */
export async function serveInTurn(pool: AnyPool<unknown>, times: number): Promise<number> {
  let served = 0
  for (let turn = 0; turn < times; turn += 1) {
    try {
      await pool.release(await pool.acquire())
      served += 1
    } catch {
      // Not served; that is what is counted.
    }
  }
  return served
}

/** Did the call itself throw, rather than the promise that it returns? The promise is looked after. */
export function throwsSynchronously(call: () => Promise<unknown>): boolean {
  try {
    call().catch(() => {})
    return false
  } catch {
    return true
  }
}
