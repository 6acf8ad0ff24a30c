import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { bulk } from '../fake-redis.ts'

/** A node that carries commands out as it should, and lies about who has which slot. */
export interface LyingNode {
  readonly port: number
  /** How often it has lied. */
  readonly lies: number
  stop(): Promise<void>
}

/**
 * Stands before a node. Whoever asks it for the topology is told that all slots are its own, at an epoch that nobody else
 * knows of, and from then on talks to it alone.
 */
export async function startLyingNode(target: number): Promise<LyingNode> {
  let lies = 0
  const sockets = new Set<Socket>()
  const server = createServer(client => {
    const upstream = connect(target, '127.0.0.1')
    let isLying = false
    const answer = (text: string): string => {
      if (/CLUSTER\r\n\$5\r\nSLOTS/i.test(text)) lies += 1
      const commands = text.split(/(?=\*\d+\r\n\$)/)
      return commands
        .map(command => {
          if (/SLOTS/i.test(command))
            return `*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n${bulk('127.0.0.1')}:${target}\r\n${bulk('liar')}`
          if (/\r\nINFO\r\n/i.test(command)) return bulk('cluster_state:ok\r\ncluster_current_epoch:999\r\n')
          if (/MYID/i.test(command)) return bulk('liar')
          return '+PONG\r\n'
        })
        .join('')
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket
        .on('error', () => {})
        .on('close', () => {
          client.destroy()
          upstream.destroy()
          sockets.delete(socket)
        })
    }
    client.on('data', chunk => {
      const text = chunk.toString('latin1')
      isLying ||= /\r\nCLUSTER\r\n/i.test(text)
      if (isLying) client.write(answer(text), 'latin1')
      else upstream.write(chunk)
    })
    upstream.on('data', chunk => {
      if (!isLying) client.write(chunk)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get lies() {
      return lies
    },
    async stop() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
