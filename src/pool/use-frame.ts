import { isCurrent } from '../connections/slot.ts'
import type { Connection, PoolNode, UseFrame, Work } from '../nested/host.ts'
import { addFrame, nextNumber } from '../nested/process-wide.ts'
import { leaseName } from '../runtime/stack-trace.ts'

/** The most frames that a pool makes for acquires that wait. More are made for loans only. */
const MOST_TO_WAIT = 1000

/** What a use frame needs from its pool. */
export interface UseHost<S extends Connection> {
  /**
   * Returns the connection of a loan that was waited for.
   * @throws PoolError `POOL_LEASE_ENDED` if the loan has been ended meanwhile
   */
  begin(grant: unknown): S
  /** Calls the function that was passed to `use`. */
  call<R>(work: Work<R>, slot: S): R | PromiseLike<R>
  /** Ends a loan. The caller waits for the promise that it returns. */
  end(slot: S): Promise<void> | undefined
}

/**
 * The frames of a pool. Each is used again and again, by one `use` at a time: from the call, or from the start of the
 * loan, until its function has returned. A function may go on after its loan, and keeps its frame. So two of them never
 * have the same name, and are not confused.
 */
export class UseFrames<S extends Connection> {
  readonly #pool: PoolNode | undefined
  readonly #host: UseHost<S>
  readonly #free: UseFrame[] = []
  #made = 0

  constructor(pool: PoolNode | undefined, host: UseHost<S>) {
    this.#pool = pool
    this.#host = host
  }

  /** For a loan. */
  take(): UseFrame {
    return this.#free.pop() ?? this.#make()
  }

  /** For an acquire that waits. Undefined if there are very many of them. */
  takeToWait(): UseFrame | undefined {
    return this.#free.pop() ?? (this.#made < MOST_TO_WAIT ? this.#make() : undefined)
  }

  #make(): UseFrame {
    const host = this.#host
    const free = this.#free
    const number = nextNumber()
    const name = leaseName(number)
    const { [name]: run } = {
      async [name]<R>(work: Work<R>, lent: S | undefined, served?: Promise<unknown>): Promise<R> {
        try {
          const slot = lent ?? host.begin(await served)
          const { loan } = slot
          slot.frame = frame
          frame.connection = slot
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
        } finally {
          if (frame.users === 0) {
            frame.connection = undefined
            free.push(frame)
          }
        }
      },
    }
    const frame: UseFrame = {
      ...{ number, pool: this.#pool, run: run as UseFrame['run'] },
      ...{ connection: undefined, loan: 0, users: 0 },
    }
    this.#made += 1
    addFrame(frame)
    return frame
  }
}
