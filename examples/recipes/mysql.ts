import type { Socket } from 'node:net'
import { createPool, type Pool, type PoolOptions } from 'lifeguard-pool'
import mysql from 'mysql2/promise'

/** A wrong password, or no such database: trying again does not help, and may lock the account. */
const PERMANENT = new Set(['ER_ACCESS_DENIED_ERROR', 'ER_DBACCESS_DENIED_ERROR', 'ER_BAD_DB_ERROR'])

/** What mysql2 keeps below its promises. */
interface Internals {
  readonly stream: Socket
  readonly _command: unknown
  readonly _commands: { readonly length: number }
}
const inside = (connection: mysql.Connection): Internals =>
  (connection as unknown as { connection: Internals }).connection

export function createMysqlPool(
  config: mysql.ConnectionOptions,
  options?: PoolOptions,
): Pool<mysql.Connection> {
  return createPool<mysql.Connection>(
    {
      // Within createTimeoutMillis the pool gives up, and ends a connection that comes later.
      async create() {
        const connection = await mysql.createConnection({ connectTimeout: 4000, ...config })
        // Without a listener, the end of an idle connection would end the process. The pool sees it by the socket.
        connection.on('error', () => {})
        return connection
      },
      destroy: connection => connection.end(),
      socket: connection => inside(connection).stream,
      busy: connection => Boolean(inside(connection)._command) || inside(connection)._commands.length > 0,
      validate: async connection => {
        await connection.ping()
        return true
      },
      // COM_RESET_CONNECTION: rolls back, and forgets variables, temporary tables and locks. One round trip.
      reset: connection => connection.reset(),
      isPermanent: error =>
        PERMANENT.has(String((error as { code?: unknown }).code)) && 'check user, password and database',
      async serverIdleTimeout(connection) {
        const [rows] = await connection.query<mysql.RowDataPacket[]>('SELECT @@wait_timeout AS seconds')
        return Number(rows[0]?.seconds) * 1000
      },
      server: { system: 'mysql', address: config.host, port: config.port, database: config.database },
    },
    { fifo: false, validateAfterIdleMillis: 500, idleTimeoutMillis: 60_000, ...options },
  )
}
