import type { Redis } from 'ioredis'
import type { Pool } from '../../../pool/pool.ts'
import type { Target } from './loan-target.ts'

/** With this error a wait at a node ends that goes on at another one. */
export const ELSEWHERE = new Error('another node serves the slot now')

/** Acquires with the same target, by one signal. */
interface Group {
  readonly target: Target
  readonly signal: AbortSignal
  acquires: number
}

/**
 * The acquires that wait for a connection to a node, so that they can be sent to another one. Those with the same target
 * share a signal, which is never aborted: there may be thousands of them, and a signal for each would take its time when
 * they leave, just when the other node is to be connected to.
 */
export class NodeWaits {
  readonly #groups = new Map<string | AbortSignal, Group>()

  get isEmpty(): boolean {
    return this.#groups.size === 0
  }

  /**
   * An acquire begins to wait.
   *
   * @param own - its own signal, if its caller may abort it
   * @returns the signal with which it waits
   */
  add(target: Target, own: AbortSignal | undefined): AbortSignal {
    const key = own ?? keyOf(target)
    let group = this.#groups.get(key)
    if (group === undefined) {
      group = { target, signal: own ?? new AbortController().signal, acquires: 0 }
      this.#groups.set(key, group)
    }
    group.acquires += 1
    return group.signal
  }

  /** Its wait has ended, or its loan. */
  delete(target: Target, own: AbortSignal | undefined): void {
    const key = own ?? keyOf(target)
    const group = this.#groups.get(key) as Group
    group.acquires -= 1
    if (group.acquires === 0) this.#groups.delete(key)
  }

  /** Ends the waits whose target is not served here any more, all in one go. They go on at another node. */
  sendElsewhere(pool: Pool<Redis>, isServed: (target: Target) => boolean): void {
    const leaving = new Set<AbortSignal>()
    for (const { target, signal } of this.#groups.values()) if (!isServed(target)) leaving.add(signal)
    pool.withdraw(leaving, ELSEWHERE)
  }
}

const keyOf = ({ role, node, slot }: Target): string => `${role} ${node ?? slot}`
