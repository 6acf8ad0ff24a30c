import type { Frame, StackTrace } from '../runtime/stack-trace.ts'
import type { Held, Lease, WaitEdge } from './host.ts'

/*
 * Who holds what was lent by `acquire` and `lease()`. No function of ours stands between such a connection and its
 * holder, so only stacks can tell: as it was handed over, it was noted who awaited it (its owners, from inner to
 * outer), and whoever waits now is asked the same. They agree when
 *
 *     owners of the lease      task, line 3             main, line 20
 *     awaiting the acquire     read, line 5    task, line 9 ◄─ went on   main, line 20 ◄─ suspended all the time
 *
 * the function that took it is found at a later statement, and those further out stand where they stood.
 *
 * A stack names functions, not their runs: it may be another run of the function that has taken another branch, and
 * the connection may have been handed to somebody else. So this alone proves nothing. As many must wait as leases
 * were taken there, and all of it must have been silent for long (see `deadlock-search.ts`).
 */

/**
 * For so many graces nothing may have moved around plain leases, of which stacks alone prove nothing: their holder
 * may be another run of the same function, or somebody to whom they were handed.
 */
export const PLAIN_GRACES = 24
/** If this many plain leases have as many takers waiting now, under the same callers, it is hardly chance. */
export const CROWD = 100
export const CROWD_GRACES = 10

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

/** A group of which a line may hold a lease. */
interface Match {
  readonly group: LeaseGroup
  /** Is the run awaited by those who awaited the taking, and no others? */
  readonly isExact: boolean
  /** Where the run stands that may hold the lease. */
  readonly place: string
  /** The way from there to the acquire, if it leads through a `Promise.all`: then the run may wait in many ways. */
  readonly branch: string | undefined
}

/** Worked out once for each loan. */
const takings = new WeakMap<StackTrace, Taking>()

/** Who took this lease; `undefined` if that was not noted, or cannot be told from the stack. */
export function takingOf({ trace }: Pick<Lease, 'trace'>): Taking | undefined {
  if (trace?.owners === undefined) return undefined
  const known = takings.get(trace)
  if (known !== undefined) return known
  const [taker, ...callers] = trace.owners.frames
  if (taker === undefined || taker.joins || taker.lease !== undefined) return undefined
  const taking = { taker, callers: callers.length, key: callers.reduce(further, taker.func), trace }
  takings.set(trace, taking)
  return taking
}

/**
 * Where the loans that are taken at a statement come back: how far down in the function that took them at the
 * furthest, or `Infinity` if not there at all, as they are handed to somebody else. Of a run that stands further down
 * such a loan has come back already; what is out is another run's.
 *
 *     const first = await pool.acquire(); …; pool.release(first)
 *     const second = await pool.acquire() ◄─ waits here, and holds nothing
 */
const releases = new Map<string, number>()
const ELSEWHERE = Number.POSITIVE_INFINITY
/** Statements that are remembered, in a process. */
const MOST_STATEMENTS = 5000

/** A loan came back. @param position - where in the function that took it; `undefined`: not there */
export function noteRelease({ func, place }: Frame, position: number | undefined): void {
  const statement = `${func} ${place}`
  const known = releases.get(statement)
  if (known === undefined && releases.size >= MOST_STATEMENTS) return
  releases.set(statement, position === undefined ? ELSEWHERE : Math.max(position, known ?? 0))
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

  /** The groups of which this line may hold a lease. */
  matches(line: readonly Frame[]): Match[] {
    const found: Match[] = []
    for (const [at, frame] of line.entries()) {
      // Whoever awaits the first of several can go on without the others.
      if (frame.func === 'Promise.any') break
      if (!this.#group(frame.func)) continue
      let key = frame.func
      for (let end = at + 1; end <= line.length; end += 1) {
        for (const group of this.#groups.get(key) ?? []) {
          if (!isLater(frame, group.taking)) continue
          const within = line.slice(0, at)
          const branch = within.some(({ joins }) => joins) ? within.reduce(further, '') : undefined
          const isExact = line.length - at - 1 === group.taking.callers
          found.push({ group, isExact, place: frame.place, branch })
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

/** Have such loans come back by the time when the function stands there? */
function isOver(frame: Frame, { func, place }: Frame): boolean {
  const furthest = releases.get(`${func} ${place}`)
  return furthest === ELSEWHERE || (furthest !== undefined && frame.position > furthest)
}

/** Has the function gone on since it took the lease, and not given it back? */
function isLater(frame: Frame, { taker, trace }: Taking): boolean {
  // Of a call and an `await` in one statement V8 tells different places, so each is compared with its like.
  const isLike = (taking: Frame): boolean => taking.func === frame.func && !taking.async
  const called = frame.async ? undefined : trace.frames.find(isLike)
  return frame.position > (called ?? taker).position && !isOver(frame, taker)
}

/** Plain leases that were taken alike, and those who wait and may hold them. */
export interface Claim {
  readonly leases: readonly Held[]
  readonly waits: readonly WaitEdge[]
}

/** Which plain leases may be held by those who wait, as far as stacks and patience tell. */
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
    const isExact = claims.every(({ match }) => match.isExact && match.branch === undefined)
    if (isExact && claims.length === group.leases.length) crowd.add(group)
  }
  const crowded = [...crowd].reduce((sum, { leases }) => sum + leases.length, 0)
  return [...found].flatMap(([group, claims]) => {
    const graces = crowded >= CROWD && crowd.has(group) ? CROWD_GRACES : PLAIN_GRACES
    const patient = claims.filter(({ edge }) => edge.pool.hasStood(graces, edge.waiter.since))
    const held = group.leases.filter(({ lease, loan }) => lease.state === 'lent' && lease.loan === loan)
    if (runsAmong(patient.map(({ match }) => match)) < held.length) return []
    const leases = held.filter(({ lease, pool }) => pool.hasStood(graces) && pool.isQuiet(lease, graces))
    return { leases, waits: claims.map(({ edge }) => edge) }
  })
}

/**
 * How many runs of the function these are, at the least. A run stands at one place, and waits for one thing; but for
 * a `Promise.all` in every branch of it, so that only those in the same branch belong to different runs for sure.
 */
function runsAmong(matches: readonly Match[]): number {
  let runs = 0
  const places = new Map<string, Map<string, number>>()
  for (const { place, branch } of matches) {
    if (branch === undefined) runs += 1
    else {
      const branches = places.get(place) ?? new Map<string, number>()
      branches.set(branch, (branches.get(branch) ?? 0) + 1)
      places.set(place, branches)
    }
  }
  for (const branches of places.values()) runs += Math.max(...branches.values())
  return runs
}

/** Those who had begun before the call: what is called only now holds nothing yet, even if another run of it does. */
export function begun(asked: StackTrace): readonly Frame[] {
  const first = asked.frames.findIndex(frame => frame.begun)
  return first === -1 ? [] : asked.frames.slice(first)
}
