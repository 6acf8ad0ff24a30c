/* A Redis in a simulated world: the embedded one of the tests, behind a simulated server; ioredis dials it by a connector. */

import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import type { SimulatedPeer, SimulatedServer, Simulation } from '../../src/testing/index.ts'
import { type ServerState, Session } from '../support/embedded-redis/session.ts'
import { Store } from '../support/embedded-redis/store.ts'

/** What a session of the embedded Redis needs of its socket. */
class PeerSocket extends EventEmitter {
  readonly remoteAddress = '127.0.0.1'
  readonly localAddress = '127.0.0.1'
  readonly remotePort: number
  readonly localPort = 6379
  writableEnded = false
  readonly #peer: SimulatedPeer

  constructor(peer: SimulatedPeer) {
    super()
    this.#peer = peer
    this.remotePort = peer.id
  }

  setNoDelay(): void {}

  write(data: string | Buffer): boolean {
    this.#peer.write(data)
    return true
  }

  destroySoon(): void {
    this.writableEnded = true
    this.#peer.end()
    this.emit('close')
  }

  destroy(): void {
    this.destroySoon()
  }

  resetAndDestroy(): void {
    this.#peer.reset()
    this.emit('close')
  }
}

/** A Redis server in this world, and the options with which ioredis connects to it. */
export function simulatedRedis(world: Simulation): {
  readonly server: SimulatedServer
  readonly redis: { host: string; port: number; Connector: never }
} {
  const state: ServerState = {
    store: new Store(),
    password: undefined,
    sessions: new Set(),
    blocked: new Set(),
  }
  const sockets = new Map<SimulatedPeer, PeerSocket>()
  const server = world.server({
    onData: (data, peer) => {
      let socket = sockets.get(peer)
      if (socket === undefined) {
        socket = new PeerSocket(peer)
        sockets.set(peer, socket)
        void new Session(peer.id, state, socket as unknown as Socket)
      }
      socket.emit('data', data)
    },
  })
  class Connector {
    #stream: Socket | undefined

    async connect(): Promise<Socket> {
      this.#stream = server.dial()
      return this.#stream
    }

    check(): boolean {
      return true
    }

    disconnect(): void {
      this.#stream?.end()
    }
  }
  return { server, redis: { host: server.host, port: server.port, Connector: Connector as never } }
}
