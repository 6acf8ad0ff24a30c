import type { ServerInfo } from './factory.ts'
import type { PoolStats } from './stats.ts'

/*
 * What the pools tell by `node:diagnostics_channel`. One list of channels for the whole process: each message says which
 * pool it is about.
 */

/** Which pool a message is about, and the server behind it as far as the factory says (`factory.server`). */
export interface PoolIdentity {
  /** Its name. Two pools may share one; `instance` tells them apart. */
  readonly pool: string
  readonly instance: PoolInstance
  readonly system?: ServerInfo['system']
  readonly serverAddress?: ServerInfo['address']
  readonly serverPort?: ServerInfo['port']
  readonly database?: ServerInfo['database']
}

/** The pool itself, as far as whoever watches it needs it. */
export interface PoolInstance {
  readonly name: string
  stats(): PoolStats
}

/** Of a tracing channel: one object for all of its messages, filled in as the operation goes on. */
interface Operation extends PoolIdentity {
  /** Why it failed; set before `error` is published. */
  error?: unknown
}

/** `lifeguard-pool:acquire`: an acquire, from the call until a connection is lent or it is refused. */
export interface AcquireMessage extends Operation {
  readonly call: 'acquire' | 'use' | 'lease'
  /** How long it waited, in milliseconds; 0 if it was served or refused at once. Known at the end. */
  waitedMillis: number | undefined
  /** Which connection was lent, and the number of this loan of it, as in `report()`. Known at the end. */
  connection: number | undefined
  loan: number | undefined
}

/** `lifeguard-pool:create`: one call of `factory.create`, with `prepare`, until it ends or its deadline passes. */
export interface CreateMessage extends Operation {
  readonly connection: number
  /** How long it took, in milliseconds. Known at the end. */
  millis: number | undefined
}

/** `lifeguard-pool:validate`: one call of `factory.validate`. An unusable connection is a result, not an error. */
export interface ValidateMessage extends Operation {
  readonly connection: number
  millis: number | undefined
  /** Is the connection usable? Known at the end. */
  valid: boolean | undefined
}

/** `lifeguard-pool:use`: the function given to `use`, while it has the connection. */
export interface UseMessage extends Operation {
  readonly connection: number
  readonly loan: number
}
