import { type Scope, shared } from './scope.ts'
import { Trace } from './stacks.ts'

/** Releases that are looked at one after the other; after that, one in so many: two stacks to read, some 20 µs. */
const MOST_LOOKS = 200
const THEN_ONE_IN = 64
/** Statements that are remembered, in a process. */
const MOST_STATEMENTS = 5000

/**
 * Who gives back what is taken at one statement: most often the function that took it; after a helper that returns
 * connections, the one that called the helper, or one further out. The stacks cannot tell in advance, and it matters:
 *
 *     async function job() { const c = await pool.acquire(); …; pool.release(c) }     // holds it, to its end
 *     async function take() { const c = await pool.acquire(); …; return c }           // the caller holds it
 *
 * A caller of `job` that has stopped waiting for it (a time limit, a `Promise.all` of which another branch has failed)
 * goes on, and `job` does so as well: the lease is not the caller's. So a caller counts as a holder only where such
 * loans have been seen to come back from it.
 */
export interface Habit {
  /** The outermost of the owners that has released such a loan: 0 is the function that took it. */
  outermost: number
  /** Has it ever been released where none of the owners was at work? Then it was handed to somebody else. */
  handedOn: boolean
}

const statementOf = (owners: Trace): string => {
  const [taker] = owners.frames
  return taker === undefined ? '' : `${taker.func} ${taker.place}`
}

/** What is known of the loans that are taken where this one was. */
export const habitOf = (owners: Trace): Habit | undefined => shared().habits.get(statementOf(owners))

/** A plain loan is being given back by whoever has called: is that one of those who awaited it? */
export function learn({ owners }: Scope, look: number): void {
  if (owners === undefined || (look > MOST_LOOKS && look % THEN_ONE_IN !== 0)) return
  if (owners.frames.length === 0) return
  const { frames } = new Trace(learn)
  if (frames.length === 0) return
  const by = owners.frames.findIndex(owner => frames.some(frame => !frame.joins && frame.func === owner.func))
  const { habits } = shared()
  const statement = statementOf(owners)
  const habit = habits.get(statement)
  if (habit !== undefined) {
    habit.outermost = Math.max(habit.outermost, by)
    habit.handedOn ||= by === -1
  } else if (habits.size < MOST_STATEMENTS) {
    habits.set(statement, { outermost: Math.max(by, 0), handedOn: by === -1 })
  }
}
