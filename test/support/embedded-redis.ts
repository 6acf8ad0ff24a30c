import { once } from 'node:events'
import { createServer } from 'node:net'
import { type ServerState, Session } from './embedded-redis/session.ts'
import { Store } from './embedded-redis/store.ts'

export interface EmbeddedRedisOptions {
  /** Default: a free one. */
  port?: number
  /** Asked for with AUTH or HELLO. Default: none. */
  password?: string
}

export interface EmbeddedRedis {
  host: string
  port: number
  /** `redis://host:port`, without the password. */
  url: string
  /** How many clients are connected. */
  clients(): number
  /** Resets every connection, as a crash of the server would. */
  resetAll(): void
  stop(): Promise<void>
}

const host = '127.0.0.1'

/**
 * A small Redis inside this process, for a machine that has none: strings, lists with BLPOP, WATCH and MULTI with
 * their optimistic lock, RESP2 and RESP3, the commands with which clients introduce themselves. An unknown command
 * gets Redis's own error.
 */
export async function startEmbeddedRedis(options: EmbeddedRedisOptions = {}): Promise<EmbeddedRedis> {
  const state: ServerState = {
    store: new Store(),
    password: options.password,
    sessions: new Set(),
    blocked: new Set(),
  }
  let lastId = 0
  const server = createServer(socket => new Session(++lastId, state, socket))
  server.listen(options.port ?? 0, host)
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the embedded server has no port')
  const resetAll = () => {
    for (const session of [...state.sessions]) session.reset()
  }
  return {
    host,
    port: address.port,
    url: `redis://${host}:${address.port}`,
    clients: () => state.sessions.size,
    resetAll,
    async stop() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      resetAll()
      await closed
    },
  }
}
