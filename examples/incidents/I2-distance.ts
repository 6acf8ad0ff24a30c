import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { addressOf } from '../support/ping.ts'

/** A way to a Redis server that takes its time, as between two machines. */
export interface Distance {
  readonly url: string
  stop(): Promise<void>
}

/**
 * Puts a server some milliseconds away. Over TLS, whose certificate names the server itself, and over a Unix socket it
 * stays where it is.
 */
export async function startDistance(redisUrl: string, oneWayMillis: number): Promise<Distance> {
  const address = addressOf(redisUrl)
  if ('path' in address || address.tls) return { url: redisUrl, stop: async () => {} }
  const sockets = new Set<Socket>()
  const relay = (from: Socket, to: Socket): void => {
    // Chunks keep their order: timers of one length fire in the order in which they were set.
    from.on('data', chunk => setTimeout(() => to.writable && to.write(chunk), oneWayMillis))
    from.on('error', () => {}).on('close', () => to.destroy())
    from.setNoDelay(true)
    sockets.add(from)
    from.on('close', () => sockets.delete(from))
  }
  const server = createServer(near => {
    const far = connect(address.port, address.host)
    relay(near, far)
    relay(far, near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(redisUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    async stop() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
