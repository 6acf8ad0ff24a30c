/**
 * The interface for adapters that lend a handle for each loan instead of the connection itself. A handle belongs to one
 * loan and refuses everything once that has ended. The key is a symbol, not a method name, so that a factory written
 * for generic-pool cannot have it by accident.
 *
 * No entry point exports any of this. It is not marked as internal, because published declarations name it.
 */
export const HANDLES: unique symbol = Symbol('lifeguard-pool handles')

/** What a borrower left behind on a connection. */
export interface Leftover {
  /** The name under which metrics count it, from a small set. */
  readonly left: string
  /** What was left behind, in words. */
  readonly detail: string
  /**
   * Undoes it before anybody else gets the connection. If it rejects, the connection is destroyed. Missing if it cannot
   * be undone.
   */
  readonly undo?: () => Promise<void>
}

/** How a lent connection is used at the moment, beyond commands without an answer. */
export interface Use {
  /** What it waits for on purpose, such as messages of a subscription. Then it is in use. */
  readonly awaits?: string
  /** What its borrower has begun and not ended, such as a WATCH. */
  readonly open?: string
}

/** Creates and ends handles. No method may throw. */
export interface Handles<T> {
  /**
   * Returns the handle for a new loan. It has the type of the connection and differs from every other handle.
   * @param owner - what {@link ownerOf} returns until the loan ends
   */
  lend(resource: T, owner: object): T
  /** The owner of this handle's loan; undefined if the loan has ended or if it is no handle. */
  ownerOf(handle: T): object | undefined
  /** Ends the loan of this handle: from now on, each use of it is refused. */
  unlend(handle: T): Leftover | undefined
  /** Tells use from idling. With it, the detection of forgotten leases may be on by default. */
  use?(resource: T): Use
  /** Has the server announced that its answers may take long now? Then a connection that waits for one is not stuck. */
  isSlow?(resource: T): boolean
  /** The time after which unused leases are reported, if the user has given none. Milliseconds. */
  readonly leakThresholdMillis?: number | undefined
}

/** A factory that may lend handles. */
export interface HandleFactory<T> {
  readonly [HANDLES]?: Handles<T>
}

export const handlesOf = <T>(factory: object): Handles<T> | undefined =>
  (factory as HandleFactory<T>)[HANDLES]
