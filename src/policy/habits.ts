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
  /**
   * An acquire was made in the context of such a loan, by the same function at another place. Was that the run which
   * had taken the loan? Its release tells: the run that made the acquire has it in its context from then on.
   *
   *     if (job.first) { const c = await pool.acquire(); … }        // another run, that has inherited the context
   *     else { await check(job); const d = await pool.acquire(); … }
   */
  goesOn: 'unknown' | 'seen' | 'refuted'
}

const statementOf = (owners: Trace): string => {
  const [taker] = owners.frames
  return taker === undefined ? '' : `${taker.func} ${taker.place}`
}

/** What is known of the loans that are taken where this one was. */
export const habitOf = (owners: Trace): Habit | undefined => shared().habits.get(statementOf(owners))

/**
 * A plain acquire is made in the context of a plain loan, and is taken to be of the same line.
 * @param asked - its stack; without one the context will show the same as if nothing had been asked for
 */
export function noteGoing(outer: Scope, asked: Trace | undefined): void {
  outer.goesOn = asked !== undefined && asked.frames[0]?.func === outer.owners?.frames[0]?.func
}

/**
 * A plain loan is being given back by whoever has called: is that one of those who awaited it?
 * @param context - the scope that the call shows
 */
export function learn(scope: Scope, context: Scope | undefined, look: number): void {
  const { owners } = scope
  if (owners === undefined || (look > MOST_LOOKS && look % THEN_ONE_IN !== 0 && !scope.goesOn)) return
  if (owners.frames.length === 0) return
  const { frames } = new Trace(learn)
  if (frames.length === 0) return
  const by = owners.frames.findIndex(owner => frames.some(frame => !frame.joins && frame.func === owner.func))
  const { habits } = shared()
  const statement = statementOf(owners)
  let habit = habits.get(statement)
  if (habit === undefined) {
    habit = { outermost: 0, handedOn: false, goesOn: 'unknown' }
    if (habits.size < MOST_STATEMENTS) habits.set(statement, habit)
  }
  habit.outermost = Math.max(habit.outermost, by)
  habit.handedOn ||= by === -1
  if (!scope.goesOn) return
  if (context === scope) habit.goesOn = 'refuted'
  else if (habit.goesOn === 'unknown' && isWithin(context, scope)) habit.goesOn = 'seen'
}

function isWithin(context: Scope | undefined, scope: Scope): boolean {
  let outer = context
  while (outer !== undefined && outer !== scope) outer = outer.parent
  return outer === scope
}
