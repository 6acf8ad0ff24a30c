/**
 * The seam for adapters that lend a handle for each loan instead of the connection itself: what a borrower
 * has belongs to his loan alone, and can be refused once that has ended. A symbol, and no hook by name: a factory
 * written for generic-pool cannot have it by chance.
 *
 * No entry point exports any of this. It is not marked as internal, as declarations that are published name it.
 */
export const HANDLES: unique symbol = Symbol('lifeguard-pool handles')

/** What a borrower left behind on a connection. */
export interface Leftover {
  /** What it is, in one of few words. */
  readonly left: string
  /** What it is, in words for people. */
  readonly detail: string
  /** Puts it right, before anybody else gets the connection; a rejection destroys that. Missing: it cannot be. */
  readonly undo?: () => Promise<void>
}

/** Makes and ends handles. Neither may throw. */
export interface Handles<T> {
  /** The handle for a loan that begins. It is of the type of the connection, and not equal to any other handle. */
  lend(resource: T): T
  /** Ends the loan of this handle: whatever it is used for from now on is refused. */
  unlend(resource: T, handle: T): Leftover | undefined
}

/** A factory that may have handles. */
export interface HandleFactory<T> {
  readonly [HANDLES]?: Handles<T>
}

export const handlesOf = <T>(factory: object): Handles<T> | undefined =>
  (factory as HandleFactory<T>)[HANDLES]
