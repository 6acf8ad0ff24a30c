import type { SlotState } from '../../api/stats.ts'

/** What the pools of a process did for a while: plain data, in milliseconds since the recording began. */
export interface Timeline {
  readonly version: 1
  /** The time of day at which the recording began. */
  readonly startedAt: string
  /** How long it took. */
  readonly millis: number
  readonly pools: readonly { readonly name: string; readonly max: number }[]
  readonly spans: readonly TimelineSpan[]
  readonly waits: readonly TimelineWait[]
  /** When the event loop was blocked. */
  readonly stalls: readonly { readonly from: number; readonly to: number }[]
  readonly marks: readonly TimelineMark[]
  readonly dropped: TimelineDrops
}

/** How many of each did not fit, oldest first. */
export interface TimelineDrops {
  readonly spans: number
  readonly waits: number
  readonly marks: number
  /** From here on the recording is complete, but for waits that were too many at a time. */
  readonly completeFrom: number
}

/** What a connection was doing. `half-closed`: still lent, and its peer has gone. */
export type TimelineState = Exclude<SlotState, 'closed'> | 'half-closed'

/** Some time of a connection in one state. */
export interface TimelineSpan {
  /** An index of `pools`. */
  readonly pool: number
  readonly connection: number
  readonly state: TimelineState
  readonly from: number
  readonly to: number
  readonly loan?: number
  /** The call site of the acquire, if it was recorded. */
  readonly site?: string
  /** Why it was closed. */
  readonly detail?: string
  /** Was it still so when the recording ended? */
  readonly isOpen?: true
  /** How long it had been so when the recording began, where that is known. */
  readonly beforeMillis?: number
}

/** An acquire that waited. */
export interface TimelineWait {
  readonly pool: number
  readonly from: number
  readonly to: number
  readonly site?: string
  /** What it got. */
  readonly connection?: number
  /** Or why it got nothing: the code of the error. */
  readonly error?: string
  readonly isOpen?: true
  /** How long it had waited when the recording began. */
  readonly beforeMillis?: number
}

/** Something that happened at one moment. */
export interface TimelineMark {
  readonly pool: number
  readonly at: number
  readonly what: 'deadlock' | 'leak' | 'shed' | 'breaker' | 'create-failed' | 'half-close'
  readonly words: string
  readonly connection?: number
}
