import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'

/** When a server hangs up on a connection that it has accepted. */
export type HangUp = 'at once' | 'after 5 ms' | 'at the first byte' | 'with a reset'

/** A server in this process that takes every connection, answers `pong` to each chunk, and hangs up as it is told to. */
export interface HangUpServer {
  readonly port: number
  /** Connections accepted so far, and those that it has not hung up on and that are open. */
  accepted: number
  readonly open: Set<Socket>
  /** Which connections it hangs up on, by their number from 1. */
  hangsUpOn: (connection: number, open: number) => HangUp | undefined
  stop(): Promise<void>
}

export async function startHangUpServer(hangsUpOn: HangUpServer['hangsUpOn']): Promise<HangUpServer> {
  const sockets = new Set<Socket>()
  const tcp = createServer({ noDelay: true }, socket => {
    server.accepted += 1
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    const how = server.hangsUpOn(server.accepted, server.open.size)
    if (how === undefined) {
      server.open.add(socket)
      socket.on('close', () => server.open.delete(socket)).on('data', () => socket.write('pong'))
      return
    }
    if (how === 'at once') socket.end()
    else if (how === 'with a reset') socket.resetAndDestroy()
    else if (how === 'at the first byte') socket.once('data', () => socket.destroy())
    else setTimeout(() => socket.end(), 5)
  }).listen(0, '127.0.0.1')
  await once(tcp, 'listening')
  const server: HangUpServer = {
    port: (tcp.address() as AddressInfo).port,
    accepted: 0,
    open: new Set(),
    hangsUpOn,
    async stop() {
      for (const socket of sockets) socket.destroy()
      tcp.close()
      await once(tcp, 'close')
    },
  }
  return server
}
