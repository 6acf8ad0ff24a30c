import type { Connection, PoolNode, UseFrame, Work } from '../nested/host.ts'
import { addFrame, nextNumber } from '../nested/process-wide.ts'
import { leaseName } from '../runtime/stack-trace.ts'

/** What a use frame needs from its pool. */
export interface UseHost<S extends Connection> {
  /** Calls the function that was passed to `use`. */
  call<R>(work: Work<R>, slot: S): R | PromiseLike<R>
  /** Ends a loan. The caller waits for the promise that it returns. */
  end(slot: S): Promise<void> | undefined
}

/**
 * Returns the frame for a loan of this connection, and creates it at the first `use`. A function that has ended its
 * loan early may keep running for any time. The next loan then gets a frame with another name, so the two are not
 * confused.
 */
export function useFrameOf<S extends Connection>(
  slot: S,
  pool: PoolNode | undefined,
  host: UseHost<S>,
): UseFrame {
  if (slot.frame !== undefined && slot.frame.users === 0) return slot.frame
  const number = nextNumber()
  const name = leaseName(number)
  const { [name]: run } = {
    async [name]<R>(work: Work<R>): Promise<R> {
      const { loan } = slot
      frame.loan = loan
      frame.users += 1
      let result: R
      try {
        result = await host.call(work, slot)
      } catch (error) {
        frame.users -= 1
        if (isCurrent(slot, loan)) {
          // Another user of a shared loan may go on. The connection must not be lent again.
          slot.isDoubtful = true
          if (frame.users === 0) host.end(slot)
        }
        throw error
      }
      frame.users -= 1
      // The function may have ended the loan itself.
      const ending = frame.users === 0 && isCurrent(slot, loan) ? host.end(slot) : undefined
      if (ending !== undefined) await ending
      return result
    },
  }
  const frame: UseFrame = { number, connection: slot, pool, loan: 0, users: 0, run: run as UseFrame['run'] }
  addFrame(frame)
  slot.frame = frame
  return frame
}

const isCurrent = (slot: Connection, loan: number): boolean => slot.loan === loan && slot.state === 'lent'
