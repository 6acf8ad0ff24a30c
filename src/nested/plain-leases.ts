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

/** Leases that were taken by the same function at the same statement, awaited by the same callers. */
export interface LeaseGroup {
  readonly statement: string
  /** How many functions awaited the taking one. */
  readonly callers: number
  readonly leases: Held[]
}

/** Who took a lease, as far as that is known. */
interface Taking {
  readonly taker: string
  readonly statement: string
  readonly callers: number
  /** The function that took it and those who awaited that. */
  readonly key: string
}

/** Worked out once for each loan. */
const takings = new WeakMap<StackTrace, Taking | undefined>()

/** Who took this lease; `undefined` if that was not noted, or cannot be told from the stack. */
export function takingOf({ trace }: Lease): Taking | undefined {
  const owners = trace?.owners
  if (owners === undefined || takings.has(owners)) return owners && takings.get(owners)
  const [taker, ...callers] = owners.frames
  const isFunction = taker !== undefined && !taker.joins && taker.lease === undefined
  const taking = isFunction
    ? {
        taker: taker.func,
        statement: taker.place,
        callers: callers.length,
        key: callers.reduce(further, taker.func),
      }
    : undefined
  takings.set(owners, taking)
  return taking
}

/** The plain leases of some pools, by who took them. */
export class PlainLeases {
  /** By the function that took them; and in groups, once somebody asks for that. */
  readonly #byTaker = new Map<string, Held[]>()
  readonly #groups = new Map<string, LeaseGroup[]>()

  get isEmpty(): boolean {
    return this.#byTaker.size === 0
  }

  /** Adds a lease, unless it cannot be known who took it. */
  add(held: Held): void {
    const taker = takingOf(held.lease)?.taker
    if (taker === undefined) return
    const others = this.#byTaker.get(taker)
    if (others === undefined) this.#byTaker.set(taker, [held])
    else others.push(held)
  }

  #groupAll(taken: Held[]): void {
    for (const held of taken.splice(0)) {
      const { key, statement, callers } = takingOf(held.lease) as Taking
      const alike = this.#groups.get(key) ?? []
      let group = alike.find(each => each.statement === statement)
      if (group === undefined) {
        group = { statement, callers, leases: [] }
        this.#groups.set(key, [...alike, group])
      }
      group.leases.push(held)
    }
  }

  /** The groups of which this line may hold a lease. */
  matches(line: readonly Frame[]): { group: LeaseGroup; isExact: boolean }[] {
    const found: { group: LeaseGroup; isExact: boolean }[] = []
    for (const [at, frame] of line.entries()) {
      // Whoever awaits the first of several can go on without the others.
      if (frame.func === 'Promise.any') break
      const taken = this.#byTaker.get(frame.func)
      if (taken === undefined) continue
      this.#groupAll(taken)
      let key = frame.func
      for (let end = at + 1; end <= line.length; end += 1) {
        for (const group of this.#groups.get(key) ?? []) {
          const [first] = group.leases
          if (first === undefined || !isLater(frame, first.lease)) continue
          found.push({ group, isExact: line.length - at - 1 === group.callers })
        }
        const next = line[end]
        if (next !== undefined) key = further(key, next)
      }
    }
    return found
  }
}

const further = (key: string, { func, place }: Frame): string => `${key}\n${func} ${place}`

/** Those who had begun before the call: what is called only now holds nothing yet, even if another run of it does. */
export function begun(asked: StackTrace): readonly Frame[] {
  const first = asked.frames.findIndex(frame => frame.begun)
  return first === -1 ? [] : asked.frames.slice(first)
}

/** Has the function gone on since it took the lease? */
function isLater(frame: Frame, { trace }: Lease): boolean {
  // Of a call and an `await` in one statement V8 tells different places, so each is compared with its like.
  const called = frame.async
    ? undefined
    : trace?.frames.find(taking => taking.func === frame.func && !taking.async)
  const taking = called ?? trace?.owners?.frames[0]
  return taking !== undefined && frame.position > taking.position
}
