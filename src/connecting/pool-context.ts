import type { PoolIdentity } from '../api/channels.ts'
import type { Factory } from '../api/factory.ts'
import type { ResolvedOptions } from '../api/resolve-options.ts'
import type { PoolStats, Totals } from '../api/stats.ts'
import type { Liveness } from '../connections/liveness.ts'
import type { ServerIdleTimeout } from '../connections/server-idle-timeout.ts'
import type { Slots } from '../connections/slots.ts'
import type { Nesting } from '../nested/nesting.ts'
import type { WaitQueue } from '../queue/wait-queue.ts'
import type { PoolEmitter } from '../runtime/emitter.ts'
import type { PoolKinds } from '../runtime/kinds.ts'
import type { StackSampler } from '../runtime/stack-sampler.ts'
import type { HookRun } from '../runtime/time/attempt.ts'
import type { Clock } from '../runtime/time/clock.ts'
import type { Deadlines } from '../runtime/time/deadlines.ts'
import type { Stalls } from '../runtime/time/stalls.ts'
import type { Times } from '../runtime/time/times.ts'

/** What the parts of one pool share. */
export interface PoolContext<T> {
  readonly factory: Factory<T>
  readonly options: ResolvedOptions
  readonly clock: Clock
  /** The time at which a loan begins or ends, in milliseconds of the clock; as exact as the options need it. */
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
  readonly serverLimit: ServerIdleTimeout
  /** Who holds what in which context; undefined under `nested: 'allow'`. */
  readonly nesting: Nesting<T> | undefined
  readonly stats: () => PoolStats
  /** Which pool this is, for messages on channels. */
  readonly identity: () => PoolIdentity
  readonly times: Times
  readonly kinds: PoolKinds
  /** Something has ended: a connection, a loan, a wait. */
  readonly onChange: () => void
}
