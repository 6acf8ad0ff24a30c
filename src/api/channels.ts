import type { ServerInfo } from './factory.ts'
import type { PoolStats } from './stats.ts'

/*
 * What pools publish through `node:diagnostics_channel`. All pools of the process share the channels. Each message says
 * which pool it is about.
 */

/** Which pool a message is about, and the server behind it as far as `factory.server` reports it. */
export interface PoolIdentity {
  /** The pool's name. Two pools may share one; `instance` tells them apart. */
  readonly pool: string
  readonly instance: PoolInstance
  readonly system?: ServerInfo['system']
  readonly serverAddress?: ServerInfo['address']
  readonly serverPort?: ServerInfo['port']
  readonly database?: ServerInfo['database']
}

/** The pool itself, reduced to what observers need. */
export interface PoolInstance {
  readonly name: string
  stats(): PoolStats
}

/**
 * A message of a tracing channel. All messages of an operation are this one object, which is completed step by step.
 */
interface Operation extends PoolIdentity {
  /** Why the operation failed. Set before `error` is published. */
  error?: unknown
}

/** `lifeguard-pool:acquire`: an acquire, from the call until a connection is lent or the acquire is refused. */
export interface AcquireMessage extends Operation {
  readonly call: 'acquire' | 'use' | 'lease'
  /** How long it waited, in milliseconds; 0 if it was served or refused at once. Set at the end. */
  waitedMillis: number | undefined
  /** Which connection was lent, and the number of its loan, as in `report()`. Set at the end. */
  connection: number | undefined
  loan: number | undefined
}

/** `lifeguard-pool:create`: one call of `factory.create` and `prepare`, until it ends or its deadline passes. */
export interface CreateMessage extends Operation {
  readonly connection: number
  /** How long it took, in milliseconds. Set at the end. */
  millis: number | undefined
}

/** `lifeguard-pool:validate`: one call of `factory.validate`. An unusable connection is a result, not an error. */
export interface ValidateMessage extends Operation {
  readonly connection: number
  millis: number | undefined
  /** Is the connection usable? Set at the end. */
  valid: boolean | undefined
}

/** `lifeguard-pool:use`: the function given to `use`, while it has the connection. */
export interface UseMessage extends Operation {
  readonly connection: number
  readonly loan: number
}
