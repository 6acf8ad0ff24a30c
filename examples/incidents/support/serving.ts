import type { Pool } from '../../../src/index.ts'
import { type Call, type Message, wallClock } from '../../../test/support/service.ts'

/*
 * The service's half of the wire to its operator. It does not hold the process: whether a service can end by itself
 * is one of the things to be seen.
 */

const send = (message: Message): void => {
  if (process.connected) process.send?.(message)
}

/** Does what the operator asks for by name. */
export function serve(work: Readonly<Record<string, (argument: never) => unknown>>): void {
  process.on('message', async message => {
    const { seq, name, argument } = message as Call
    try {
      const value = await work[name]?.(argument as never)
      send({ type: 'answer', seq, value })
    } catch (error) {
      send({ type: 'answer', seq, value: undefined, error: String(error) })
    }
  })
}

/** Lets the process end once it has nothing left to do but to listen to its operator. */
export function hangUp(): void {
  process.disconnect()
}

/** The service has found out what is wrong. */
export function nameCause(text: string): void {
  send({ type: 'named', text, at: wallClock() })
}

/** The part of a pool that the services use: generic-pool's, and so ours. */
export interface Loans<T> {
  readonly size: number
  readonly available: number
  readonly borrowed: number
  readonly pending: number
  use<R>(work: (resource: T) => Promise<R>): Promise<R>
  drain(): Promise<void>
  clear(): Promise<void>
}

/** What can be said of any pool; ours says more. */
export function reportOf<T>(pool: Loans<T>): string {
  if ('report' in pool) return (pool as unknown as Pool<T>).report()
  return `size ${pool.size}, idle ${pool.available}, borrowed ${pool.borrowed}, pending ${pool.pending}`
}
