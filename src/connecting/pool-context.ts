import type { PoolIdentity } from '../api/channels.ts'
import type { Factory } from '../api/factory.ts'
import type { ResolvedOptions } from '../api/options/resolve-options.ts'
import type { PoolStats, Totals } from '../api/stats.ts'
import type { Liveness } from '../connections/liveness.ts'
import type { ServerIdleTimeout } from '../connections/server-idle-timeout.ts'
import type { Slots } from '../connections/slots.ts'
import type { Nesting } from '../nested/nesting.ts'
import type { WaitQueue } from '../queue/wait-queue.ts'
import type { PoolEmitter } from '../runtime/emitter.ts'
import type { Kinds } from '../runtime/kinds.ts'
import type { StackSampler } from '../runtime/stack-sampler.ts'
import type { HookRun } from '../runtime/time/attempt.ts'
import type { Clock } from '../runtime/time/clock.ts'
import type { Deadlines } from '../runtime/time/deadlines.ts'
import type { Stalls } from '../runtime/time/stalls.ts'
import type { Times } from '../runtime/time/times.ts'

/** The counts by kind of one pool. */
export interface PoolKinds {
  /** Connections that the pool has destroyed, by reason. */
  readonly destroyed: Kinds
  /** Those of them that were dirty, by what was left behind on them. */
  readonly dirty: Kinds
  /** Failed creates, by error. */
  readonly createErrors: Kinds
}

/** What the parts of one pool share. */
export interface PoolContext<T> {
  readonly factory: Factory<T>
  readonly options: ResolvedOptions
  readonly clock: Clock
  /**
   * Returns the time for the begin and end of loans, in milliseconds of the clock. Its precision depends on the
   * options.
   */
  readonly loanNow: () => number
  readonly random: () => number
  readonly stalls: Stalls
  readonly hookDeadlines: Deadlines<HookRun>
  readonly sampler: StackSampler
  readonly events: PoolEmitter<T>
  readonly slots: Slots<T>
  readonly queue: WaitQueue<T>
  readonly totals: Totals
  readonly liveness: Liveness<T>
  readonly serverIdleTimeout: ServerIdleTimeout
  /** Which context holds which connections; undefined under `nested: 'allow'`. */
  readonly nesting: Nesting<T> | undefined
  readonly stats: () => PoolStats
  /** Identifies this pool in channel messages. */
  readonly identity: () => PoolIdentity
  readonly times: Times
  readonly kinds: PoolKinds
  /** Is called when something has ended: a connection, a loan or a wait. */
  readonly onChange: () => void
}
