import { once } from 'node:events'
import { createServer, connect as dial, type Socket } from 'node:net'
import { createPool, type Pool } from 'lifeguard-pool'
import { createRedisClusterPool } from 'lifeguard-pool/ioredis'

/*
 * What the blocks of the documents use without making it: `<!-- given: connect -->` before a block. A client that answers
 * everything, and a pool of such clients.
 */

export interface Client {
  readonly stream: Socket
  /** Requests without an answer. */
  readonly pending: number
  query(text: string): Promise<readonly string[]>
  ping(): Promise<boolean>
  rollback(): Promise<void>
  end(): Promise<void>
  on(event: 'error', listener: (error: Error) => void): void
}

/** A server that takes connections and stays silent, and its port. */
const server = createServer(socket => void socket.on('error', () => {}).resume()).unref()
await once(server.listen(0, '127.0.0.1'), 'listening')
export const { port } = server.address() as { port: number }

export async function connect(_options?: { readonly signal?: AbortSignal }): Promise<Client> {
  const stream = dial(port, '127.0.0.1')
  await once(stream, 'connect')
  return {
    stream,
    pending: 0,
    query: async text => [text],
    ping: async () => true,
    rollback: async () => {},
    end: async () => void stream.destroy(),
    on: (event, listener) => void stream.on(event, listener),
  }
}

export const pool: Pool<Client> = createPool(
  { create: () => connect(), destroy: client => client.end(), reset: client => client.rollback() },
  { max: 4 },
)

/** A pool of a cluster that is not there: blocks only define what they would do with it. */
export const cluster = createRedisClusterPool('127.0.0.1:1')

/** A request that was given up by nobody. */
export const request = { signal: new AbortController().signal }

/** What a block does with a connection, and beside it. */
export const audit = async (_client: Client): Promise<void> => {}
export const slow = async (_client: Client): Promise<void> => {}
