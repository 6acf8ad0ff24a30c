import type { StackTrace } from '../runtime/stack-trace.ts'
import type { Held, PoolNode, UseFrame } from './host.ts'

/**
 * What all copies of this package in one process share. The references are weak because a pool may be dropped without
 * being closed.
 */
interface ProcessWide {
  /** The pools that take part in the search for deadlocks. */
  readonly pools: Set<WeakRef<PoolNode>>
  /** The functions that `use` runs under, by the number in their names. */
  readonly frames: Map<number, WeakRef<UseFrame>>
  /** The last number given out. */
  numbers: number
}

/**
 * The key stands for the shape of everything that pools ask each other (see {@link PoolNode}). Change both together, or
 * two copies of the package misread each other.
 */
const KEY = Symbol.for('lifeguard-pool.nested.v6')

function processWide(): ProcessWide {
  const holder = globalThis as { [KEY]?: ProcessWide }
  holder[KEY] ??= { pools: new Set(), frames: new Map(), numbers: 0 }
  return holder[KEY]
}

/** A registry smaller than this is not searched for entries whose pool has been garbage-collected. */
const LEAST_SWEPT = 1000
let sweepPoolsAt = LEAST_SWEPT
let sweepFramesAt = LEAST_SWEPT

/**
 * Removes the entries that have been garbage-collected.
 * @returns the size of the registry at which the next sweep is due
 */
function sweep<E>(entries: E[], remove: (entry: E) => void, refOf: (entry: E) => WeakRef<object>): number {
  const gone = entries.filter(entry => refOf(entry).deref() === undefined)
  for (const entry of gone) remove(entry)
  return Math.max(LEAST_SWEPT, 2 * (entries.length - gone.length))
}

/** Makes a pool take part in the search for deadlocks. */
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

/** A number, unique in the process, for the name of a function that `use` runs under. */
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

/** The lease of the `use` function with this number; `undefined` once its loan has ended. */
export function heldInUse(number: number): Held | undefined {
  const frame = processWide().frames.get(number)?.deref()
  if (frame === undefined || frame.pool === undefined || frame.users === 0) return undefined
  const { lease, pool, loan } = frame
  return lease.state === 'lent' && lease.loan === loan ? { lease, pool, loan, isPlain: false } : undefined
}

/** The `use` leases that cannot end before this call returns, because their functions await it; from inner to outer. */
export const leasesOfUse = (asked: StackTrace): Held[] =>
  asked.leases.flatMap(number => heldInUse(number) ?? [])
