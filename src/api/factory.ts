import type { Socket } from 'node:net'
import type { PoolError } from './errors.ts'

/**
 * How the pool makes, checks and ends the connections that it lends.
 *
 * Every hook that does something may be synchronous or not, may throw, reject or never settle: the pool bounds each by
 * its deadline and runs it outside the `AsyncLocalStorage` context of whoever asked for a connection. `socket` and `busy`
 * are plain questions, answered at once; a throw means that the connection is broken, or dirty.
 */
export interface Factory<T> {
  /**
   * Makes one connection. The signal is aborted when `createTimeoutMillis` has passed or the pool is closed: settle then,
   * as `close()` waits for what is still being made.
   */
  create(signal: AbortSignal): T | Promise<T>
  /**
   * Makes a new connection ready to be lent, once: a handshake, a SELECT, a schema. Part of the create and its deadline;
   * when it fails, the pool closes the connection, which `create` itself would have to see to.
   */
  prepare?(resource: T, signal: AbortSignal): void | Promise<void>
  /** Ends one connection. Bounded by `destroyTimeoutMillis`; until it settles, the connection counts against `max`. */
  destroy(resource: T): void | Promise<void>
  /** Is the connection usable? Anything but a truthy answer, a throw or the deadline means: no, destroy it. */
  validate?(resource: T, signal: AbortSignal): boolean | Promise<boolean>
  /**
   * Cleans a connection on its return (ROLLBACK, DISCARD ALL, UNSUBSCRIBE). A throw or the deadline destroys it. Without
   * it, the next borrower finds what the last one left, and a connection is destroyed when the function of `use` fails.
   */
  reset?(resource: T, signal: AbortSignal): void | Promise<void>
  /** The socket behind a connection; switches the detection of half-closed connections on. */
  socket?(resource: T): Socket | undefined
  /**
   * Has the connection unanswered work? Then it is dirty on return, and its holder counts as alive. Without it, the next
   * borrower may get the answer to what the last one asked. A text names what is under way (`'GET'`), for the report.
   */
  busy?(resource: T): boolean | string
  /**
   * Is this error of `create`, or of `prepare`, one that trying again will not mend: a wrong password, a database that
   * does not exist? Then callers are told at once and the pool tries seldom, so that no account is locked. A text says
   * what to do about it, for the message. What the pool knows by itself: a bug in `create` (`TypeError`,
   * `ReferenceError`), `POOL_BAD_OPTIONS`, Node's errors for a certificate that does not fit, and what PostgreSQL, MySQL and
   * MariaDB say of a wrong password, user or database.
   */
  isPermanent?(error: unknown): boolean | string
  /** When the borrower last used the connection, on the clock of `performance.now()`. Not needed where there is a socket. */
  lastUsed?(resource: T): number | undefined
  /** May the server speak unasked on an idle connection (push messages, notices)? Asked once; else that is a fault. */
  unsolicited?(resource: T): boolean
  /** The server's idle limit in milliseconds (0: none), if it can be asked; called once per generation. */
  serverIdleTimeout?(resource: T): Promise<number | undefined>
  /** Which server the connections lead to, for metrics, traces and messages on channels. Read when it is needed. */
  readonly server?: ServerInfo | undefined
}

/** A server, in the words of OpenTelemetry's conventions. */
export interface ServerInfo {
  /** `db.system.name`: `'redis'`, `'postgresql'`, … */
  readonly system?: string | undefined
  /** `server.address`: host name, IP address or path of a Unix socket; and `server.port`. */
  readonly address?: string | undefined
  readonly port?: number | undefined
  /** `db.namespace`: the database. */
  readonly database?: string | undefined
}

export type { PoolError }
