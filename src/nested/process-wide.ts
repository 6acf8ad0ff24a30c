import type { StackTrace } from '../runtime/stack-trace.ts'
import type { Held, PoolNode, UseFrame } from './host.ts'

/** What all copies of this package in one process share; held weakly, as a pool may be dropped without being closed. */
interface ProcessWide {
  /** The pools that look for deadlocks. */
  readonly pools: Set<WeakRef<PoolNode>>
  /** The functions under which `use` runs, by the number in their names. */
  readonly frames: Map<number, WeakRef<UseFrame>>
  /** Numbers given so far. */
  numbers: number
}

/** The key names the shape of all that pools ask of each other (see {@link PoolNode}): change both together. */
const KEY = Symbol.for('lifeguard-pool.nested.v6')

function processWide(): ProcessWide {
  const holder = globalThis as { [KEY]?: ProcessWide }
  holder[KEY] ??= { pools: new Set(), frames: new Map(), numbers: 0 }
  return holder[KEY]
}

/** How many there may be before those that are gone are looked for. */
const LEAST_SWEPT = 1000
let sweepPoolsAt = LEAST_SWEPT
let sweepFramesAt = LEAST_SWEPT

/** @returns how many there may be before the next time */
function sweep<E>(entries: E[], remove: (entry: E) => void, refOf: (entry: E) => WeakRef<object>): number {
  const gone = entries.filter(entry => refOf(entry).deref() === undefined)
  for (const entry of gone) remove(entry)
  return Math.max(LEAST_SWEPT, 2 * (entries.length - gone.length))
}

/** A pool joins those that are looked at. */
export function addPool(pool: PoolNode): void {
  const { pools } = processWide()
  pools.add(new WeakRef(pool))
  if (pools.size >= sweepPoolsAt)
    sweepPoolsAt = sweep(
      [...pools],
      ref => pools.delete(ref),
      ref => ref,
    )
}

export function allPools(): PoolNode[] {
  return [...processWide().pools].flatMap(ref => ref.deref() ?? [])
}

/** A number for a function under which `use` runs, that no other of the process has. */
export function nextNumber(): number {
  const shared = processWide()
  shared.numbers += 1
  return shared.numbers
}

export function addFrame(frame: UseFrame): void {
  const { frames } = processWide()
  frames.set(frame.number, new WeakRef(frame))
  if (frames.size >= sweepFramesAt)
    sweepFramesAt = sweep(
      [...frames],
      ([number]) => frames.delete(number),
      ([, ref]) => ref,
    )
}

/** What is held by the function under which `use` runs that has this number, unless its loan has ended. */
export function heldInUse(number: number): Held | undefined {
  const frame = processWide().frames.get(number)?.deref()
  if (frame === undefined || frame.pool === undefined || frame.users === 0) return undefined
  const { lease, pool, loan } = frame
  return lease.state === 'lent' && lease.loan === loan ? { lease, pool, loan, isPlain: false } : undefined
}

/** The leases of `use` inside of which a call was made, and somebody waits for it; from inner to outer. */
export const leasesOfUse = (asked: StackTrace): Held[] =>
  asked.leases.flatMap(number => heldInUse(number) ?? [])
