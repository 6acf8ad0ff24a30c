import type { StackTrace } from '../runtime/stack-trace.ts'
import type { Lease, PoolNode, UseFrame } from './host.ts'

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
const KEY = Symbol.for('lifeguard-pool.nested.v8')

function processWide(): ProcessWide {
  const holder = globalThis as { [KEY]?: ProcessWide }
  holder[KEY] ??= { pools: new Set(), frames: new Map(), numbers: 0 }
  return holder[KEY]
}

/** Removes the entries of pools and frames that have been garbage-collected. */
const collected = new FinalizationRegistry<() => void>(remove => remove())

/**
 * Makes a pool take part in the search for deadlocks.
 *
 * @returns a function that ends that, for when the pool is closed
 */
export function addPool(pool: PoolNode): () => void {
  const { pools } = processWide()
  const ref = new WeakRef(pool)
  const remove = (): void => void pools.delete(ref)
  pools.add(ref)
  collected.register(pool, remove)
  return remove
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
  const { number } = frame
  frames.set(number, new WeakRef(frame))
  collected.register(frame, () => frames.delete(number))
}

/** The lease of the `use` function with this number; `undefined` once its loan has ended. */
export function leaseOfUse(number: number): Lease | undefined {
  const frame = processWide().frames.get(number)?.deref()
  if (frame === undefined || frame.pool === undefined) return undefined
  const { connection, pool, loan } = frame
  if (connection?.state !== 'lent' || connection.loan !== loan) return undefined
  return { connection, pool, loan, isPlain: false }
}

/** The `use` leases that cannot end before this call returns, because their functions await it; from inner to outer. */
export function leasesOfUse(asked: StackTrace): Lease[] {
  // Without a `use` in this process, the stack need not be read, which takes longer than to take it.
  if (processWide().frames.size === 0) return []
  return asked.leases.flatMap(number => leaseOfUse(number) ?? [])
}
