import type { Frame, StackTrace } from '../runtime/stack-trace.ts'
import type { Connection, Lease, WaitEdge } from './host.ts'

/*
 * Who holds a connection lent by `acquire` or `lease()`. None of our functions stands between such a connection and its
 * holder, so only stacks can tell. When the connection was handed over, the pool recorded who awaited it: its owners,
 * from inner to outer. Each waiter is later asked who awaits it. The two stacks match when the function that took the
 * lease appears in the second one at a later statement, and the functions further out stand where they stood:
 *
 *     owners of the lease      task, line 3             main, line 20
 *     awaiting the acquire     read, line 5    task, line 9 ◄─ went on   main, line 20 ◄─ suspended all the time
 *
 * A stack names functions, not their runs. It may show another run of the same function that took another branch, or
 * the connection may have been handed to other code. So one match proves nothing. At least as many runs must wait as
 * leases were taken at that statement, and all of it must have been silent for a long time (see `deadlock-search.ts`).
 */

/**
 * Nothing may have moved around plain leases for this many graces. Stacks alone prove nothing about them: the holder
 * may be another run of the same function, or other code that was handed the connection.
 */
export const PLAIN_GRACES = 24
/**
 * If this many plain leases have exactly as many of their takers waiting, under the same callers, chance is ruled out
 * in practice. Then `CROWD_GRACES` are enough.
 */
export const CROWD = 100
export const CROWD_GRACES = 10

/** Who took a lease, as far as that is known. */
interface Taking {
  readonly taker: Frame
  /** How many functions awaited the one that took the lease. */
  readonly callers: number
  /** Identifies the function that took the lease together with the functions that awaited it. */
  readonly key: string
  /** The stack of the acquire call. */
  readonly trace: StackTrace
}

/** Leases that the same function took at the same statement, awaited by the same callers. */
interface LeaseGroup {
  readonly taking: Taking
  readonly leases: Lease[]
}

/** A run of a function, as the stack of a waiter shows it. */
interface RunInStack {
  /** The statement at which it is suspended. */
  readonly place: string
  /**
   * The path from there to the acquire, if it leads through a `Promise.all`: then one run may wait in several branches.
   */
  readonly branch: string | undefined
}

/** A group of leases, one of which may be held by a run that a stack shows. */
interface Match {
  readonly group: LeaseGroup
  readonly run: RunInStack
  /** Is the run awaited by the same number of callers as the acquire was? */
  readonly isExact: boolean
}

/** One entry per loan, so that each is worked out only once. */
const takings = new WeakMap<StackTrace, Taking>()

/** Who took this lease; `undefined` if that was not recorded, or cannot be told from the stack. */
export function takingOf({ trace }: Pick<Connection, 'trace'>): Taking | undefined {
  if (trace?.owners === undefined) return undefined
  const known = takings.get(trace)
  if (known !== undefined) return known
  const [taker, ...callers] = trace.owners.frames
  if (taker === undefined) return undefined
  const taking = { taker, callers: callers.length, key: callers.reduce(extendKey, taker.func), trace }
  takings.set(trace, taking)
  return taking
}

/**
 * For each acquire statement, where its loans come back: the position in the function furthest down, or `Infinity` if
 * they are released by other code. If a run stands further down than that, it has released its loan already, and the
 * lease that is still out belongs to another run.
 *
 *     const first = await pool.acquire(); …; pool.release(first)
 *     const second = await pool.acquire() ◄─ waits here, and holds nothing
 */
const releases = new Map<string, number>()
const ELSEWHERE = Number.POSITIVE_INFINITY
/** So many statements are remembered per process, those whose loans came back last. Each takes about 200 bytes. */
const MOST_STATEMENTS = 20_000

/**
 * Records where a plain loan comes back.
 * @param trace - the stack with which the loan was taken
 * @param ended - the stack of the code that ends it
 */
export function recordRelease(trace: StackTrace, { frames }: StackTrace): void {
  const taker = takingOf({ trace })?.taker
  // No user frame: the pool itself ends the loan.
  if (taker === undefined || frames.length === 0) return
  const statement = `${taker.func} ${taker.place}`
  const known = releases.get(statement)
  // Puts it last in the map, so that the first one is the one to forget.
  releases.delete(statement)
  if (releases.size >= MOST_STATEMENTS) releases.delete(releases.keys().next().value as string)
  const position = frames.find(({ func }) => func === taker.func)?.position
  releases.set(statement, position === undefined ? ELSEWHERE : Math.max(position, known ?? 0))
}

/** The plain leases of some pools, grouped by who took them. */
export class PlainLeases {
  /** The functions that took any of them. */
  readonly #takers = new Set<string>()
  /** By the function that took them and those that awaited it. */
  readonly #groups = new Map<string, LeaseGroup[]>()

  get isEmpty(): boolean {
    return this.#takers.size === 0
  }

  /** Adds a lease, unless it is unknown who took it. */
  add(lease: Lease): void {
    const taking = takingOf(lease.connection)
    if (taking === undefined) return
    this.#takers.add(taking.taker.func)
    const alike = this.#groups.get(taking.key)
    const group = alike?.find(each => each.taking.taker.place === taking.taker.place)
    if (group !== undefined) group.leases.push(lease)
    else if (alike !== undefined) alike.push({ taking, leases: [lease] })
    else this.#groups.set(taking.key, [{ taking, leases: [lease] }])
  }

  /** The groups of which the run shown by this stack may hold a lease. */
  matches(line: readonly Frame[]): Match[] {
    const found: Match[] = []
    for (const [at, frame] of line.entries()) {
      // Code that awaits a `Promise.any` can go on without this branch.
      if (frame.func === 'Promise.any') break
      if (!this.#takers.has(frame.func)) continue
      const within = line.slice(0, at)
      const branch = within.some(({ joins }) => joins) ? within.reduce(extendKey, '') : undefined
      const run = { place: frame.place, branch }
      let key = frame.func
      for (let end = at + 1; end <= line.length; end += 1) {
        for (const group of this.#groups.get(key) ?? []) {
          if (!isLater(frame, group.taking)) continue
          found.push({ group, run, isExact: line.length - at - 1 === group.taking.callers })
        }
        const next = line[end]
        if (next !== undefined) key = extendKey(key, next)
      }
    }
    return found
  }
}

const extendKey = (key: string, { func, place }: Frame): string => `${key}\n${func} ${place}`

/** Are the loans of this statement always back by the time the function stands at this frame? */
function isOver(frame: Frame, { func, place }: Frame): boolean {
  const furthest = releases.get(`${func} ${place}`)
  return furthest === ELSEWHERE || (furthest !== undefined && frame.position > furthest)
}

/** Has the function gone on since it took the lease, without giving it back? */
function isLater(frame: Frame, { taker, trace }: Taking): boolean {
  // V8 gives a call and an `await` in the same statement different positions, so like is compared with like.
  const isLike = (taking: Frame): boolean => taking.func === frame.func && !taking.async
  const called = frame.async ? undefined : trace.frames.find(isLike)
  return frame.position > (called ?? taker).position && !isOver(frame, taker)
}

/** Plain leases that were taken alike, and the waiters that may hold them. */
interface Claim {
  readonly leases: readonly Lease[]
  readonly waits: readonly WaitEdge[]
}

/** Finds the plain leases that waiters may hold, going by stacks and by how long nothing has moved. */
export function claimsOf(plain: PlainLeases, edges: readonly WaitEdge[]): Claim[] {
  const found = new Map<LeaseGroup, { edge: WaitEdge; match: Match }[]>()
  if (plain.isEmpty) return []
  for (const edge of edges) {
    for (const match of plain.matches(edge.waiter.awaiters?.chain?.frames ?? [])) {
      const others = found.get(match.group)
      if (others === undefined) found.set(match.group, [{ edge, match }])
      else others.push({ edge, match })
    }
  }
  const crowd = new Set<LeaseGroup>()
  for (const [group, claims] of found) {
    const isExact = claims.every(({ match }) => match.isExact && match.run.branch === undefined)
    if (isExact && claims.length === group.leases.length) crowd.add(group)
  }
  const crowded = [...crowd].reduce((sum, { leases }) => sum + leases.length, 0)
  // The group with the most callers comes first: one with fewer matches the same runs.
  const byCallers = [...found].sort(([a], [b]) => b.taking.callers - a.taking.callers)
  const runs = new RunsAmong()
  return byCallers.flatMap(([group, claims]) => {
    const graces = crowded >= CROWD && crowd.has(group) ? CROWD_GRACES : PLAIN_GRACES
    const patient = claims.filter(({ edge }) => edge.pool.hasStood(graces, edge.waiter.since))
    const held = group.leases.filter(
      ({ connection, loan }) => connection.state === 'lent' && connection.loan === loan,
    )
    const matched = patient.map(({ match }) => match.run)
    if (!runs.take(group.taking, held.length, matched)) return []
    const leases = held.filter(
      ({ connection, pool }) => pool.hasStood(graces) && pool.isQuiet(connection, graces),
    )
    return { leases, waits: claims.map(({ edge }) => edge) }
  })
}

/** A run that is certain to be another one: by its identity, or one of so many that stand at this place. */
type CountedRun = RunInStack | string

/**
 * Counts runs of functions. A run holds at most one lease that was taken at one statement, by whichever callers: the
 * same run may match the leases of a group with more callers and of one with fewer. Groups whose callers differ never
 * match the same run.
 */
class RunsAmong {
  /** By statement and callers: the runs that are taken to hold a lease taken there by these, and any further callers. */
  readonly #holders = new Map<string, CountedRun[]>()

  /** Takes so many of these runs as holders of leases that were taken alike; `false` if there are fewer. */
  take({ taker, key }: Taking, count: number, matched: readonly RunInStack[]): boolean {
    const taken = new Map<CountedRun, number>()
    for (const run of this.#holders.get(`${taker.place}\n${key}`) ?? [])
      taken.set(run, (taken.get(run) ?? 0) + 1)
    const free = differentRuns(matched).filter(run => {
      const left = taken.get(run) ?? 0
      if (left > 0) taken.set(run, left - 1)
      return left === 0
    })
    if (free.length < count) return false
    let callers = taker.place
    for (const caller of key.split('\n')) {
      callers = `${callers}\n${caller}`
      const holders = this.#holders.get(callers) ?? []
      this.#holders.set(callers, holders)
      for (const run of free.slice(0, count)) holders.push(run)
    }
    return true
  }
}

/**
 * Those of these runs that are certain to be different ones. A run stands at one place and waits for one thing. The
 * exception is a `Promise.all`, where one run waits in every branch: only those in the same branch are certain to be
 * different runs. So of each place as many count as wait in one of its branches.
 */
function differentRuns(matched: readonly RunInStack[]): CountedRun[] {
  const runs: CountedRun[] = []
  const inBranch = new Map<string, number>()
  const most = new Map<string, number>()
  for (const run of matched) {
    const { place, branch } = run
    if (branch === undefined) runs.push(run)
    else {
      const count = (inBranch.get(`${place}\n${branch}`) ?? 0) + 1
      inBranch.set(`${place}\n${branch}`, count)
      if (count > (most.get(place) ?? 0)) {
        most.set(place, count)
        runs.push(place)
      }
    }
  }
  return runs
}

/**
 * The frames that had begun before this call. A function that is only now being called holds nothing yet, even if
 * another run of it does.
 */
export function framesBegunBefore(asked: StackTrace): readonly Frame[] {
  const first = asked.frames.findIndex(frame => frame.begun)
  return first === -1 ? [] : asked.frames.slice(first)
}
