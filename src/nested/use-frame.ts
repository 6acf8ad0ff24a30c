import { leaseName } from '../runtime/stack-trace.ts'
import type { Lease, PoolNode } from './host.ts'
import { addFrame, nextNumber } from './process-wide.ts'

/** What `use` is given to run. */
export type Work<R> = (resource: never) => R | PromiseLike<R>

/**
 * The function under which `use` runs on one connection. It has a name of its own, `lease 17`, and awaits what the user's
 * function returns: so whoever waits for a connection inside of `use`, and is awaited by it, shows in V8's async stack
 * which lease cannot end before. Nothing has to be tracked for that.
 */
export interface UseFrame {
  /** The number in its name. */
  readonly number: number
  readonly lease: Lease
  /** `undefined` under `nested: 'allow'`. */
  readonly pool: PoolNode | undefined
  /** The loan in which it runs, or has run last. */
  loan: number
  /** How many run in it now: several share the loan under `nested: 'reuse'`. */
  users: number
  /** Runs a function on the connection. The last of its users ends the loan, unless that has been ended already. */
  run<R>(work: Work<R>): Promise<R>
}

/**
 * The frame for a loan of this connection, made for its first `use`. A function that has ended its loan early may run on
 * for as long as it likes; its name is not given to the next loan then.
 *
 * @param end - gives a connection back
 */
export function useFrameOf<S extends Lease>(
  slot: S,
  pool: PoolNode | undefined,
  end: (slot: S) => void,
): UseFrame {
  if (slot.frame !== undefined && slot.frame.users === 0) return slot.frame
  const number = nextNumber()
  const name = leaseName(number)
  const { [name]: run } = {
    async [name]<R>(work: Work<R>): Promise<R> {
      const { loan } = slot
      frame.loan = loan
      frame.users += 1
      try {
        return await work(slot.lent as never)
      } finally {
        frame.users -= 1
        if (frame.users === 0 && slot.loan === loan && slot.state === 'lent') end(slot)
      }
    },
  }
  const frame: UseFrame = { number, lease: slot, pool, loan: 0, users: 0, run: run as UseFrame['run'] }
  addFrame(frame)
  slot.frame = frame
  return frame
}
