import type { FoundRedis } from '../../../test/support/redis-server.ts'
import type { Named } from '../../../test/support/service.ts'

/** `without` the pool: the service as people write it today. `with`: the same service code on lifeguard-pool. */
export type Side = 'without' | 'with'

/** `small` is for tests: the same faults, fewer of everything. */
export type Scale = 'full' | 'small'

/** What an incident is played on. */
export interface Stage {
  readonly redis: FoundRedis
  readonly scale: Scale
  /** Takes a line of progress. */
  readonly say: (line: string) => void
}

/** One thing that an operator would look at, and what it showed. */
export type Row = readonly [label: string, value: string | number]

/** What one run showed. Nothing in it is written in beforehand. */
export interface Seen {
  readonly rows: readonly Row[]
  /** What went wrong, each in a few words with its number; empty if nothing did. */
  readonly harm: readonly string[]
  /** For the table, where nothing went wrong. */
  readonly unharmed: string
  readonly named?: Named | undefined
  /** pool.report() of the sick process. */
  readonly report?: string | undefined
}

export interface Incident {
  readonly id: string
  readonly title: string
  /** Plays one side, in child processes that have ended when this resolves. */
  play(side: Side, stage: Stage): Promise<Seen>
}

/** Both sides of one incident. */
export interface Played {
  readonly id: string
  readonly title: string
  readonly seconds: number
  readonly without: Seen
  readonly with: Seen
}

/** What speaks against a pair of runs; empty if all went as it must. */
export function objections({
  id,
  without,
  with: guarded,
}: Pick<Played, 'id' | 'without' | 'with'>): string[] {
  return [
    ...(without.harm.length === 0 ? [`${id}: the unguarded run came to no harm, so it shows nothing`] : []),
    ...guarded.harm.map(harm => `${id}: the guarded run suffered: ${harm}`),
    ...(guarded.named === undefined ? [`${id}: the guarded run never named the cause`] : []),
  ]
}

/** A count in words that an operator may see to be missing: not every system has /proc. */
export const orUnknown = (value: number | string | undefined): number | string =>
  value ?? 'not to be seen here (no /proc)'

/** Lists what went wrong: of each pair, the words if the condition held. */
export function harmOf(...findings: readonly (readonly [happened: boolean, words: string])[]): string[] {
  return findings.filter(([happened]) => happened).map(([, words]) => words)
}
