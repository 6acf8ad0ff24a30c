import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import genericPool from 'generic-pool'
import { createPool as createLightningPool } from 'lightning-pool'
import { Pool as SequelizePool } from 'sequelize-pool'
import { Pool as TarnPool } from 'tarn'
import { createPool } from '../../src/index.ts'

/* Pools of real connections to a Redis, all set up alike, as the contenders of bench/studies/faults.ts. */

/** A client that sends PING, and is answered or rejected. */
export class Client {
  readonly socket: Socket
  readonly #waiting: { resolve(): void; reject(error: Error): void }[] = []

  constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', data => {
      for (let line = data.indexOf(10); line >= 0; line = data.indexOf(10, line + 1))
        this.#waiting.shift()?.resolve()
    })
    socket.on('error', () => {})
    const lost = (): void => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error('the connection was closed'))
    }
    socket.on('end', lost).on('close', lost)
  }

  get usable(): boolean {
    return this.socket.readable && this.socket.writable
  }

  ask(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.usable) reject(new Error('the connection is closed'))
      this.#waiting.push({ resolve, reject })
      this.socket.write('PING\r\n')
    })
  }

  close(): void {
    this.socket.destroy()
  }
}

/** Connects started. */
export const connects = { count: 0 }

async function dial(port: number): Promise<Client> {
  connects.count += 1
  const socket = connect(port, '127.0.0.1')
  const client = new Client(socket)
  await once(socket, 'connect')
  // A handshake, as every client has one.
  await client.ask()
  return client
}

export interface Pooled {
  acquire(): Promise<Client>
  release(client: Client): unknown
  destroy(client: Client): unknown
  /** `use`, or the same by hand. */
  use<R>(work: (client: Client) => Promise<R>): Promise<R>
}

export const MAX = 5
const TIMEOUT_MILLIS = 2000

/** On success it is given back, on failure destroyed. */
function byHand(pool: Omit<Pooled, 'use'>): Pooled {
  return {
    ...pool,
    async use(work) {
      const client = await pool.acquire()
      try {
        const result = await work(client)
        await pool.release(client)
        return result
      } catch (error) {
        await pool.destroy(client)
        throw error
      }
    },
  }
}

/** Each with a deadline, and with a check before each loan that looks at the socket and asks nothing of the server. */
export const MAKERS: Readonly<Record<string, (port: () => number, max: number) => Pooled>> = {
  'generic-pool': (port, max) => {
    const factory = {
      create: () => dial(port()),
      destroy: async (client: Client) => client.close(),
      validate: async (client: Client) => client.usable,
    }
    const pool = genericPool.createPool(factory, {
      max,
      testOnBorrow: true,
      acquireTimeoutMillis: TIMEOUT_MILLIS,
    })
    return byHand({
      acquire: async () => await pool.acquire(),
      release: client => pool.release(client),
      destroy: client => pool.destroy(client),
    })
  },
  tarn: (port, max) => {
    const pool = new TarnPool<Client>({
      create: () => dial(port()),
      destroy: client => client.close(),
      validate: client => client.usable,
      min: 0,
      max,
      acquireTimeoutMillis: TIMEOUT_MILLIS,
    })
    return byHand({
      acquire: () => pool.acquire().promise,
      release: client => pool.release(client),
      destroy: client => {
        client.close()
        pool.release(client)
      },
    })
  },
  'lightning-pool': (port, max) => {
    const pool = createLightningPool<Client>(
      {
        create: () => dial(port()),
        destroy: async client => client.close(),
        validate: async client => {
          if (!client.usable) throw new Error('the connection is closed')
        },
      },
      { max, min: 0, validation: true, acquireTimeoutMillis: TIMEOUT_MILLIS },
    )
    return byHand({
      acquire: () => pool.acquire(),
      release: client => pool.release(client),
      destroy: client => pool.destroy(client),
    })
  },
  'sequelize-pool': (port, max) => {
    const pool = new SequelizePool<Client>({
      create: () => dial(port()),
      destroy: client => client.close(),
      validate: client => client.usable,
      min: 0,
      max,
      idleTimeoutMillis: 30_000,
      acquireTimeoutMillis: TIMEOUT_MILLIS,
      reapIntervalMillis: 1000,
    })
    return byHand({
      acquire: () => pool.acquire(),
      release: client => pool.release(client),
      destroy: client => pool.destroy(client),
    })
  },
  'lifeguard-pool': (port, max) => {
    const pool = createPool<Client>(
      {
        create: () => dial(port()),
        destroy: client => client.close(),
        validate: client => client.usable,
        socket: client => client.socket,
      },
      { max, testOnBorrow: true, acquireTimeoutMillis: TIMEOUT_MILLIS, name: 'faults' },
    )
    return {
      acquire: () => pool.acquire(),
      release: client => pool.release(client),
      destroy: client => pool.destroy(client),
      use: work => pool.use(work),
    }
  },
}
