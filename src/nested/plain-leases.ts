import type { Frame, StackTrace } from '../runtime/stack-trace.ts'
import type { Held, Lease } from './host.ts'

/*
 * Who holds what was lent by `acquire` and `lease()`. No function of ours stands between such a connection and its
 * holder, so only stacks can tell: as it was handed over, it was noted who awaited it (its owners, from inner to outer),
 * and whoever waits now is asked the same. They agree when
 *
 *     owners of the lease      task, line 3             main, line 20
 *     awaiting the acquire     read, line 5    task, line 9 ◄─ went on   main, line 20 ◄─ suspended all the time
 *
 * the function that took it is found at a later statement, and those further out stand where they stood.
 *
 * A stack names functions, not their runs: it may be another run of the function that has taken another branch, and the
 * connection may have been handed to somebody else. So this alone proves nothing. As many must wait as leases were
 * taken there, and all of it must have been silent for long (see `deadlock-search.ts`).
 */

/** Who took a lease, as far as that is known. */
interface Taking {
  readonly taker: Frame
  /** How many functions awaited the taking one. */
  readonly callers: number
  /** The function that took it and those who awaited that. */
  readonly key: string
  /** The stack of the call. */
  readonly trace: StackTrace
}

/** Leases that were taken by the same function at the same statement, awaited by the same callers. */
export interface LeaseGroup {
  readonly taking: Taking
  readonly leases: Held[]
}

/** Worked out once for each loan. */
const takings = new WeakMap<StackTrace, Taking>()

/** Who took this lease; `undefined` if that was not noted, or cannot be told from the stack. */
export function takingOf({ trace }: Lease): Taking | undefined {
  if (trace?.owners === undefined) return undefined
  const known = takings.get(trace)
  if (known !== undefined) return known
  const [taker, ...callers] = trace.owners.frames
  if (taker === undefined || taker.joins || taker.lease !== undefined) return undefined
  const taking = { taker, callers: callers.length, key: callers.reduce(further, taker.func), trace }
  takings.set(trace, taking)
  return taking
}

/** The plain leases of some pools, by who took them. */
export class PlainLeases {
  /** By the function that took them, until somebody asks for that; then in groups. */
  readonly #byTaker = new Map<string, { held: Held; taking: Taking }[]>()
  readonly #groups = new Map<string, LeaseGroup[]>()

  get isEmpty(): boolean {
    return this.#byTaker.size === 0
  }

  /** Adds a lease, unless it cannot be known who took it. */
  add(held: Held): void {
    const taking = takingOf(held.lease)
    if (taking === undefined) return
    const others = this.#byTaker.get(taking.taker.func)
    if (others === undefined) this.#byTaker.set(taking.taker.func, [{ held, taking }])
    else others.push({ held, taking })
  }

  /** The groups of which this line may hold a lease; exact: it is awaited by those who awaited the taking, and no others. */
  matches(line: readonly Frame[]): { group: LeaseGroup; isExact: boolean }[] {
    const found: { group: LeaseGroup; isExact: boolean }[] = []
    for (const [at, frame] of line.entries()) {
      // Whoever awaits the first of several can go on without the others.
      if (frame.func === 'Promise.any') break
      if (!this.#group(frame.func)) continue
      let key = frame.func
      for (let end = at + 1; end <= line.length; end += 1) {
        for (const group of this.#groups.get(key) ?? []) {
          if (!isLater(frame, group.taking)) continue
          found.push({ group, isExact: line.length - at - 1 === group.taking.callers })
        }
        const next = line[end]
        if (next !== undefined) key = further(key, next)
      }
    }
    return found
  }

  /** @returns whether there are leases that this function took */
  #group(taker: string): boolean {
    const added = this.#byTaker.get(taker)
    for (const { held, taking } of added?.splice(0) ?? []) {
      const alike = this.#groups.get(taking.key) ?? []
      const group = alike.find(each => each.taking.taker.place === taking.taker.place)
      if (group !== undefined) group.leases.push(held)
      else this.#groups.set(taking.key, [...alike, { taking, leases: [held] }])
    }
    return added !== undefined
  }
}

const further = (key: string, { func, place }: Frame): string => `${key}\n${func} ${place}`

/** Has the function gone on since it took the lease? */
function isLater(frame: Frame, { taker, trace }: Taking): boolean {
  // Of a call and an `await` in one statement V8 tells different places, so each is compared with its like.
  const isLike = (taking: Frame): boolean => taking.func === frame.func && !taking.async
  const called = frame.async ? undefined : trace.frames.find(isLike)
  return frame.position > (called ?? taker).position
}

/** Those who had begun before the call: what is called only now holds nothing yet, even if another run of it does. */
export function begun(asked: StackTrace): readonly Frame[] {
  const first = asked.frames.findIndex(frame => frame.begun)
  return first === -1 ? [] : asked.frames.slice(first)
}
