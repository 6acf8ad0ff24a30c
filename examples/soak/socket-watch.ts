import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

/** Follows every TCP and Unix socket that this thread opens as a client: Node itself tells of each. */
export class SocketWatch {
  readonly #sockets: Socket[] = []
  readonly #onSocket = (message: unknown): void => {
    this.#sockets.push((message as { socket: Socket }).socket)
  }

  constructor() {
    subscribe('net.client.socket', this.#onSocket)
  }

  get opened(): number {
    return this.#sockets.length
  }

  get closed(): number {
    return this.#sockets.filter(socket => socket.closed).length
  }

  stop(): void {
    unsubscribe('net.client.socket', this.#onSocket)
  }
}
