import type { Socket } from 'node:net'
import { createPool, type Pool, type PoolOptions } from 'lifeguard-pool'
import pg from 'pg'

/** What the server says to a wrong password, user or database: trying again does not help, and may lock the account. */
const PERMANENT = new Set(['28P01', '28000', '3D000'])

/** What pg knows of requests without an answer, and has no public name for. */
interface Internals {
  readonly _activeQuery: unknown
  readonly _queryQueue: readonly unknown[]
}

export function createPostgresPool(config: pg.ClientConfig, options?: PoolOptions): Pool<pg.Client> {
  return createPool<pg.Client>(
    {
      async create(signal) {
        const client = new pg.Client(config)
        // Without a listener, the end of an idle connection would end the process. The pool sees it by the socket.
        client.on('error', () => {})
        const stop = (): void => void client.connection.stream.destroy()
        signal.addEventListener('abort', stop, { once: true })
        try {
          await client.connect()
        } catch (error) {
          stop()
          throw error
        } finally {
          signal.removeEventListener('abort', stop)
        }
        return client
      },
      destroy: client => client.end(),
      socket: client => client.connection.stream as Socket,
      busy: client => {
        const { _activeQuery, _queryQueue } = client as unknown as Internals
        return Boolean(_activeQuery) || _queryQueue.length > 0
      },
      validate: async client => (await client.query('SELECT 1')).rowCount === 1,
      async reset(client) {
        // 'I': no transaction is open. A round trip only where there is something to end.
        if (client.getTransactionStatus() !== 'I') await client.query('ROLLBACK')
      },
      isPermanent: error =>
        PERMANENT.has(String((error as { code?: unknown }).code)) && 'check user, password and database',
      async serverIdleTimeout(client) {
        const { rows } = await client.query(
          "SELECT setting::int AS millis FROM pg_settings WHERE name = 'idle_session_timeout'",
        )
        return rows[0]?.millis
      },
      server: { system: 'postgresql', address: config.host, port: config.port, database: config.database },
    },
    { fifo: false, validateAfterIdleMillis: 500, idleTimeoutMillis: 60_000, ...options },
  )
}
