import type { Socket } from 'node:net'
import type { PoolError } from './errors.ts'

/**
 * How the pool creates, checks and ends the connections that it lends.
 *
 * Hooks that do something may be synchronous or asynchronous, and may throw, reject or never settle. The pool limits
 * each one by a deadline, and runs it outside the `AsyncLocalStorage` context of the caller that needed a connection.
 * `socket` and `busy` answer synchronously. If they throw, the connection counts as broken or dirty.
 */
export interface Factory<T> {
  /**
   * Creates one connection. The signal is aborted when `createTimeoutMillis` has passed or the pool is closed. Settle
   * then, because `close()` waits for creates in progress.
   */
  create(signal: AbortSignal): T | Promise<T>
  /**
   * Prepares a new connection once before it is first lent: a handshake, a SELECT, a schema. It is part of the create
   * and shares its deadline. If it fails, the pool closes the connection, which `create` would have to do itself.
   */
  prepare?(resource: T, signal: AbortSignal): void | Promise<void>
  /** Ends one connection, within `destroyTimeoutMillis`. Until it settles, the connection counts against `max`. */
  destroy(resource: T): void | Promise<void>
  /** Is the connection usable? A falsy result, an exception or the deadline means that it is not, and destroys it. */
  validate?(resource: T, signal: AbortSignal): boolean | Promise<boolean>
  /**
   * Cleans a connection that is returned (ROLLBACK, DISCARD ALL, UNSUBSCRIBE). An exception or the deadline destroys
   * it. Without this hook, the next borrower finds what the last one left, and a connection is destroyed when the
   * function given to `use` fails.
   */
  reset?(resource: T, signal: AbortSignal): void | Promise<void>
  /** The socket behind a connection. Enables the detection of half-closed connections. */
  socket?(resource: T): Socket | undefined
  /**
   * Has the connection unanswered work? Then it is dirty when it is returned, and its holder counts as active. Without
   * this hook, the next borrower may get the answer to the last one's request. A string names the work (`'GET'`) for
   * the report.
   */
  busy?(resource: T): boolean | string
  /**
   * Is this an error of `create` or `prepare` that trying again will not fix, such as a wrong password or a database
   * that does not exist? Then callers fail at once, and the pool tries rarely, so that no account is locked. A string
   * says what to do about it, for the message. The pool itself recognises a bug in `create` (`TypeError`,
   * `ReferenceError`), `POOL_BAD_OPTIONS`, Node's errors for an invalid certificate, and what PostgreSQL, MySQL and
   * MariaDB answer to a wrong password, user or database.
   */
  isPermanent?(error: unknown): boolean | string
  /** When the borrower last used the connection, by `performance.now()`. Not needed for connections with a socket. */
  lastUsed?(resource: T): number | undefined
  /**
   * May the server send data unasked on an idle connection (push messages, notices)? Called once. If not, it is a
   * fault.
   */
  unsolicited?(resource: T): boolean
  /** The server's idle limit in milliseconds (0 for none), if it can be asked. Called once per generation. */
  serverIdleTimeout?(resource: T): Promise<number | undefined>
  /**
   * When a new connection stops being usable, as a time of day in milliseconds since 1970: the end of a token or of a
   * certificate. The connection retires before that. Asked once, after `prepare`; `undefined`: it does not expire.
   */
  expiresAt?(resource: T): number | undefined
  /** Which server the connections lead to, for metrics, traces and channel messages. Read whenever it is needed. */
  readonly server?: ServerInfo | undefined
}

/** A server, with the terms of OpenTelemetry's conventions. */
export interface ServerInfo {
  /** `db.system.name`: `'redis'`, `'postgresql'`, … */
  readonly system?: string | undefined
  /** `server.address`: host name, IP address or path of a Unix socket. The next one is `server.port`. */
  readonly address?: string | undefined
  readonly port?: number | undefined
  /** `db.namespace`: the database. */
  readonly database?: string | undefined
}

export type { PoolError }
