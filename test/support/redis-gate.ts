import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A server that counts whom it has accepted, and what still has not been closed. */
export interface Gate {
  readonly port: number
  readonly accepted: number
  readonly open: number
  /** The most that were open at one time. */
  readonly mostOpen: number
  stop(): Promise<void>
}

/** What it does with a connection once that is accepted. */
export type Manner = 'through' | 'late' | 'stranger'

/** How late a connection through a `late` gate is answered. Milliseconds. */
export const LATE_MILLIS = 250

/**
 * Starts a gate in front of a Redis server: `through` it as it is, `late`, or to a `stranger` who does not speak Redis,
 * as behind a wrong port.
 */
export async function startGate(redisPort: number, manner: Manner): Promise<Gate> {
  const open = new Set<Socket>()
  let accepted = 0
  let mostOpen = 0
  const server = createServer(socket => {
    accepted += 1
    open.add(socket)
    mostOpen = Math.max(mostOpen, open.size)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    if (manner === 'stranger') socket.once('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))
    else if (manner === 'through') join(socket, redisPort)
    else setTimeout(() => join(socket, redisPort), LATE_MILLIS).unref()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get accepted() {
      return accepted
    },
    get open() {
      return open.size
    },
    get mostOpen() {
      return mostOpen
    },
    async stop() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

function join(socket: Socket, port: number): void {
  if (socket.destroyed) return
  const redis = connect(port, '127.0.0.1')
  redis.on('error', () => {}).on('close', () => socket.destroy())
  socket.on('close', () => redis.destroy())
  socket.pipe(redis)
  redis.pipe(socket)
}
