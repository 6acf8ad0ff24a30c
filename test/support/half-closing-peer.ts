import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

export interface Peer {
  readonly port: number
  /** Connections that have not been closed by both sides. */
  readonly open: number
  readonly halfClosed: number
  sayGoodbye(): Promise<void>
  stop(): Promise<void>
}

/** A server that answers PING, takes no upload, and closes idle connections with a farewell. */
export async function startPeer(): Promise<Peer> {
  const sockets = new Set<Socket>()
  let halfClosed = 0
  const server: Server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    socket.on('data', chunk => {
      if (!chunk.toString('latin1').startsWith('UPLOAD')) socket.write('PONG\n')
      else {
        socket.pause()
        socket.end(() => {
          halfClosed += 1
        })
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get open() {
      return sockets.size
    },
    get halfClosed() {
      return halfClosed
    },
    async sayGoodbye() {
      await Promise.all(
        [...sockets].map(socket => new Promise<void>(done => socket.end('BYE, idle for too long\n', done))),
      )
    },
    async stop() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
