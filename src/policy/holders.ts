import { heldFrom, type Scope, type Wait } from './scope.ts'
import type { Frame, Trace } from './stacks.ts'

/** What is believed: every hint of a context; what the stack of the call shows; what those who await it show, too. */
export type Trust = 'hints' | 'call' | 'chain'

/** Scopes looked at from one waiter outwards. No sane task holds more; a polluted context may show hundreds. */
const MOST_SCOPES = 32

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
 * There the stacks decide. The function that took the lease must be seen suspended in the waiter's stack:
 *
 * 1. when the acquire was called, it must have begun before (a resumed or an async frame). A function that is called
 *    only now holds nothing yet, even if another run of it does.
 * 2. resumed at the very statement that took the lease, it may be another run of the same function, unless nothing
 *    but this function had been in the microtask that took it (nobody else can then have got its context).
 * 3. as many leases as it occurs in the stack, counted from the innermost: the others are those of other runs.
 * 4. asked again once a knot is suspected, V8 must still show that function as awaiting the acquire: a promise that
 *    was started and not awaited does not keep anybody.
 *
 * Where a stack does not tell (not taken, cut off by a callback), the lease counts as free to end: a deadlock that is
 * missed ends with the acquire's deadline, a false alarm is a bug that the pool has added.
 *
 * @param trust - `hints` is cheap, and finds never too few
 */
export function leasesOf(wait: Pick<Wait, 'scope' | 'trace' | 'chain'>, trust: Trust): Scope[] {
  const found: Scope[] = []
  const runs = new Map<string, number>()
  let looked = 0
  for (let scope = heldFrom(wait.scope); scope !== undefined; scope = heldFrom(scope.parent)) {
    looked += 1
    if (looked > MOST_SCOPES) break
    const { lease } = scope
    if (found.includes(lease) || lease.state !== 'held') continue
    if (trust === 'hints' || scope.exact || isHolder(scope.trace, wait, trust, runs)) found.push(lease)
  }
  return found
}

/** Has this context a lease that is known to be held here by nothing but its hint? Then the stacks are needed. */
export function needsStacks(innermost: Scope | undefined): boolean {
  for (let scope = heldFrom(innermost); scope !== undefined; scope = heldFrom(scope.parent)) {
    if (!scope.exact && scope.trace !== undefined) return true
  }
  return false
}

/** Is what has called here started, and then awaited or called, by whoever runs in this scope? */
export function isOfThisLine(scope: Scope, trace: Trace): boolean {
  return scope.exact || isHolder(scope.trace, { trace, chain: undefined }, 'call', new Map())
}

/** @param runs - how many runs of each function have been accounted for, from the innermost lease outwards */
function isHolder(
  taken: Trace | undefined,
  { trace, chain }: Pick<Wait, 'trace' | 'chain'>,
  trust: Trust,
  runs: Map<string, number>,
): boolean {
  const holder = taken?.frames[0]
  if (holder === undefined || trace === undefined) return false
  if (trust === 'chain' && chain === undefined) return false
  const { frames } = trace
  let resumedAt = count(frames, holder.func)
  // Rule 2: the innermost frame is the one that called acquire.
  if (frames[0]?.begun && frames[0].func === holder.func && frames[0].place === holder.place) {
    if (!holder.begun) resumedAt -= 1
  }
  if (trust === 'chain' && chain !== undefined)
    resumedAt = Math.min(resumedAt, count(chain.frames, holder.func))
  if (resumedAt <= 0) return false
  if (holder.begun) return true
  const statement = `${holder.place} ${holder.func}`
  const before = runs.get(statement) ?? 0
  runs.set(statement, before + 1)
  return before < resumedAt
}

function count(frames: readonly Frame[], func: string): number {
  let found = 0
  for (const frame of frames) if (frame.begun && frame.func === func) found += 1
  return found
}
