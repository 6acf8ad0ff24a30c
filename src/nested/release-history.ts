import { StackTrace } from '../runtime/stack-trace.ts'
import { heldFrom, MOST_SCOPES, type Scope, shared } from './scope.ts'

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
   * Where acquires were made, in the context of such a loan and by a function that awaited it, but by another run of
   * that than the one which had taken the loan. Its release tells: the run that makes an acquire has that in its
   * context from then on.
   *
   *     if (job.first) { const c = await pool.acquire(); … }        // another run, that has inherited the context
   *     else { await check(job); const d = await pool.acquire(); … }
   */
  readonly strangers: Set<string>
}

/** The acquires that one context has made inside a lease, by their places. */
export interface Trail {
  /** The {@link Scope.goings} of that lease, which tell it apart: to keep the lease itself would keep all around it. */
  readonly of: ReadonlyMap<string, boolean>
  readonly places: readonly string[]
}

const statementOf = (owners: StackTrace): string => {
  const [taker] = owners.frames
  return taker === undefined ? '' : `${taker.func} ${taker.place}`
}

/** What is known of the loans that are taken where this one was. */
export const habitOf = (owners: StackTrace): Habit | undefined => shared().habits.get(statementOf(owners))

/** The statement at which a function that awaited a lease asks for another, itself or through what it calls. */
export function goingFrom(owners: StackTrace | undefined, asked: StackTrace | undefined): string | undefined {
  const runs = asked?.frames.find(frame => frame.begun)
  if (runs === undefined || runs.async) return undefined
  return owners?.frames.some(owner => owner.func === runs.func) ? runs.place : undefined
}

/**
 * A plain acquire is made in the context of plain loans, and is taken to be of the same line.
 * @param inner - its scope
 * @param hint - what the context has shown: an earlier acquire of the same context, it may be
 * @param asked - its stack; without one the context will show the same as if nothing had been asked for
 */
export function noteGoing(inner: Scope, hint: Scope, asked: StackTrace | undefined): void {
  const trails: Trail[] = []
  let looked = 0
  // What is asked for inside `use` does not show in the context of whoever has called that.
  for (let outer = inner.parent; outer !== undefined && !outer.exact; outer = heldFrom(outer.parent)) {
    looked += 1
    if (looked > MOST_SCOPES) break
    const before = trailOf(hint, outer)
    const place = goingFrom(outer.owners, asked)
    if (place !== undefined) {
      outer.goings ??= new Map()
      const isDirect = asked?.frames[0]?.begun === true
      outer.goings.set(place, isDirect && outer.goings.get(place) !== false)
      const places = before?.places ?? []
      trails.push({ of: outer.goings, places: places.includes(place) ? places : [...places, place] })
    } else if (before !== undefined) trails.push(before)
  }
  if (trails.length > 0) inner.trails = trails
}

const trailOf = (scope: Scope, lease: Scope): Trail | undefined =>
  lease.goings && scope.trails?.find(trail => trail.of === lease.goings)

/**
 * A plain loan is being given back by whoever has called: is that one of those who awaited it?
 * @param context - the scope that the call shows
 */
export function learn(scope: Scope, context: Scope | undefined): void {
  const { owners } = scope
  if (owners === undefined || owners.frames.length === 0) return
  const { frames } = new StackTrace(learn)
  if (frames.length === 0) return
  const { habits } = shared()
  const statement = statementOf(owners)
  let habit = habits.get(statement)
  if (habit === undefined) {
    habit = { outermost: 0, handedOn: false, strangers: new Set() }
    if (habits.size < MOST_STATEMENTS) habits.set(statement, habit)
  }
  // Whoever stands where it stood does not give it back itself: another does, whom it awaits as well.
  const by = owners.frames.findIndex(owner =>
    frames.some(frame => !frame.joins && frame.func === owner.func && frame.place !== owner.place),
  )
  habit.outermost = Math.max(habit.outermost, by)
  habit.handedOn ||= by === -1
  for (const [place, isDirect] of scope.goings ?? []) {
    // What a helper has asked for need not show in its caller's context (`AsyncLocalStorage.run` may be in between).
    if (isDirect && isStranger(scope, context, place)) habit.strangers.add(place)
  }
}

/** Was it another run than the one which now gives this lease back that had asked for another there? */
function isStranger(lease: Scope, context: Scope | undefined, place: string): boolean {
  let trail: Trail | undefined
  let outer = context
  for (; outer !== undefined && outer !== lease; outer = outer.parent) trail ??= trailOf(outer, lease)
  return outer !== undefined && trail?.places.includes(place) !== true
}
