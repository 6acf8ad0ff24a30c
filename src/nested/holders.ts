import type { Frame, StackTrace } from '../runtime/stack-trace.ts'
import { goingFrom, habitOf } from './release-history.ts'
import { heldFrom, MOST_SCOPES, type Scope, type WaitEdge } from './scope.ts'

/** What is believed: every hint of a context; what the stack of the call shows; what those who await it show. */
export type Trust = 'hints' | 'call' | 'chain'

/** As much of a {@link WaitEdge} as it takes to judge a call that may not wait at all. */
export type Asking = Pick<WaitEdge, 'scope' | 'trace' | 'chain'>

/**
 * Which leases certainly cannot end before this acquire is served: the ones that its own line of execution holds.
 *
 * A lease of `use` is held by everything that runs in its scope. After a plain acquire, or `lease()`, the context is
 * only a hint: `AsyncLocalStorage` cannot enter the continuation of the caller alone, so the caller's caller finds
 * itself in the scope as well, and with it whatever that starts later. Two common programs do so:
 *
 *     const first = await pool.acquire()            // for ever, at start-up
 *     server.on('request', …)                       // inherits the context; first is not theirs to release
 *
 *     for await (const job of queue) void handle(job)   // handle() acquires: the next job inherits this one's context
 *
 * There V8's async stacks decide. As the lease was granted it was noted who awaited it (`owners`, from inner to outer:
 * the function that took it, then the one that awaits what that returns, and so on); once a knot is suspected, V8 is
 * asked who awaits the acquire that is judged. The lease is held by its line when an owner is found there that has
 * gone on since:
 *
 *     owners of the lease    take, line 3    task, line 8             main, line 20
 *     awaiting the acquire                   task, line 9 ◄─ went on  main, line 20 ◄─ suspended all the time
 *
 * 1. It is the same function, and those further out stand where they stood: they cannot have moved while they awaited.
 * 2. It stands at another statement than before. At the same one it may be another run of the function, one that has
 *    inherited the context; unless the context cannot have strayed (see {@link isKept}): then it went round in a loop.
 *    Or it still waits there, in a `Promise.all`, for the branch that took the lease.
 * 3. No lease further in was taken at the same statement by that very run: what is left is another run's.
 * 4. It is the function that took the lease, or one to which such leases are known to be returned (see `Habit`).
 * 5. The stack of the call that took the lease shows no other run of the function than those that await it.
 *
 * Where a stack does not tell (not taken, cut off by a callback), the lease counts as free to end: a deadlock that is
 * missed ends with the acquire's deadline, a false alarm is a bug that the pool has added.
 *
 * @param trust - `hints` is cheap, and finds never too few; `call` judges by the stack of the call, before anybody
 *   awaits the acquire
 * @param unsure - is given the plain loans, of which no proof is perfect; without it they are found as well
 */
export function leasesOf(asking: Asking, trust: Trust, unsure?: Scope[]): Scope[] {
  const found: Scope[] = []
  let claims: Set<string> | undefined
  let line: readonly Frame[] | undefined
  let looked = 0
  for (let scope = heldFrom(asking.scope); scope !== undefined; scope = heldFrom(scope.parent)) {
    if (!scope.exact) looked += 1
    if (looked > MOST_SCOPES) break
    const { lease } = scope
    if (found.includes(lease) || lease.state !== 'held') continue
    if (trust !== 'hints' && !scope.exact) {
      line ??= trust === 'call' ? begun(asking.trace) : (asking.chain?.frames ?? [])
      claims ??= new Set()
      if (!isHolder(scope, line, asking.trace, claims)) continue
    }
    if (scope.exact || trust === 'hints' || unsure === undefined) found.push(lease)
    else unsure.push(lease)
    if (trust !== 'hints' && scope.isDetached) break
  }
  return found
}

/** Can the stacks tell more than the context? They can when an inexact scope shows in it whose owners are known. */
export function needsStacks(innermost: Scope | undefined): boolean {
  let looked = 0
  for (let scope = heldFrom(innermost); scope !== undefined; scope = heldFrom(scope.parent)) {
    if (!scope.exact && scope.owners !== undefined) return true
    looked += 1
    if (looked > MOST_SCOPES) break
  }
  return false
}

/** Is what has called here started, and then awaited or called, by whoever runs in this scope? */
export const isOfThisLine = (scope: Scope, asked: StackTrace): boolean =>
  scope.exact || isHolder(scope, begun(asked), asked)

/**
 * The first scope from here outwards that need not be ruled out: an exact one, or one whose owners are known. Others
 * cannot be proved; and a line whose own lease is not granted, or was granted in this very microtask, is not here yet.
 */
export function firstKnown(scope: Scope | undefined): Scope | undefined {
  while (scope !== undefined && !scope.exact && scope.owners === undefined) scope = heldFrom(scope.parent)
  return scope
}

/**
 * The first scope from here outwards that may be of this call's line. What the stack of the call speaks against is left
 * out, and all that the context has shown before: the function that took the lease is there, but only called now, or at
 * the same statement again. So is what cannot be known yet; without a stack that is all but the exact scopes.
 */
export function enclosing(outer: Scope | undefined, asked: StackTrace | undefined): Scope | undefined {
  const line = begun(asked)
  let first = outer
  let looked = 0
  for (let scope = outer; scope !== undefined; scope = heldFrom(scope.parent)) {
    looked += 1
    if (looked > MOST_SCOPES) return undefined
    if (scope.exact || isHolder(scope, line, asked)) break
    if (asked === undefined || scope.owners === undefined || isSeen(scope.owners, asked))
      first = heldFrom(scope.parent)
  }
  return first
}

/** Does one of the functions that awaited a lease occur in the stack of this call? */
const isSeen = (owners: StackTrace, asked: StackTrace): boolean =>
  owners.frames.some(owner => !owner.joins && countOf(asked.frames, owner.func) > 0)

/**
 * Is the lease held by this line, as far as stacks can tell? Of a function of which runs are started side by side it can
 * be another run after all, one that has inherited the context and takes another branch; and whichever function took
 * the lease, it may have handed it to somebody else. What is known of such loans speaks here (see `Habit`); what is not
 * yet known the verdict meets with patience.
 * @param claims - which runs have been found to hold a lease of which statement, from the innermost outwards
 */
function isHolder(
  scope: Scope,
  line: readonly Frame[],
  asked: StackTrace | undefined,
  claims = new Set<string>(),
): boolean {
  const { owners: awaiting, trace: taken } = scope
  if (awaiting === undefined || taken === undefined) return false
  const owners = awaiting.frames
  const kept = isKept(taken, owners)
  const habit = habitOf(awaiting)
  if (habit?.handedOn) return false
  for (const [at, owner] of owners.slice(0, 1 + (habit?.outermost ?? 0)).entries()) {
    if (owner.joins || strays(taken, owner, owners, at)) continue
    for (const [depth, frame] of line.entries()) {
      // Who awaits the first of several can go on without this acquire.
      if (frame.joins && frame.func === 'Promise.any') break
      if (frame.func !== owner.func || !endsLike(line, depth + 1, owners, at + 1)) continue
      if (isSameStatement(frame, owner, taken)) {
        const joined = joins(owners.slice(0, at)) && joins(line.slice(0, depth))
        if (!kept || joined) continue
      }
      const claim = `${depth} ${owner.place}`
      if (!kept && claims.has(claim)) continue
      claims.add(claim)
      return kept || !habit?.strangers.has(goingFrom(awaiting, asked) ?? '')
    }
  }
  return false
}

/**
 * Has the context of this loan stayed with the line that took it? So it has when the microtask that took it had
 * resumed a function of that line, and none that does not await the loan: everyone who saw the scope then belongs to
 * it, or was started by it afterwards.
 */
function isKept(taken: StackTrace, owners: readonly Frame[]): boolean {
  const called = taken.frames.filter(frame => !frame.async)
  const resumed = called.at(-1)
  if (resumed === undefined || !resumed.begun) return false
  return called.length === 1 || countOf(owners, resumed.func) >= countOf(called, resumed.func)
}

/** Rule 5: does the scope show in the context of another run of this function, one that does not await the loan? */
function strays(taken: StackTrace, owner: Frame, owners: readonly Frame[], at: number): boolean {
  return countOf(taken.frames, owner.func) > countOf(owners.slice(at), owner.func)
}

/** Rule 2. Of a call and an `await` in one statement V8 tells different places, so each is compared with its like. */
const isSameStatement = (frame: Frame, owner: Frame, taken: StackTrace): boolean =>
  frame.place ===
  (frame.async ? owner : taken.frames.find(called => called.func === owner.func && !called.async))?.place

/** Rule 1: do the frames from here on begin with all owners from there on? */
function endsLike(line: readonly Frame[], from: number, owners: readonly Frame[], at: number): boolean {
  if (line.length - from < owners.length - at) return false
  for (; at < owners.length; at += 1, from += 1) {
    const [frame, owner] = [line[from], owners[at]]
    if (frame?.func !== owner?.func || frame?.place !== owner?.place) return false
  }
  return true
}

const joins = (frames: readonly Frame[]): boolean => frames.some(frame => frame.joins)

const countOf = (frames: readonly Frame[], func: string): number =>
  frames.reduce((count, frame) => count + (frame.func === func ? 1 : 0), 0)

/** Those who had begun before the call: what is called only now holds nothing yet, even if another run of it does. */
function begun(asked: StackTrace | undefined): readonly Frame[] {
  const frames = asked?.frames ?? []
  const first = frames.findIndex(frame => frame.begun)
  return first === -1 ? [] : frames.slice(first)
}
