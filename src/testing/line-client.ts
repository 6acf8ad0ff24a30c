import type { Socket } from 'node:net'
import type { Factory } from '../api/factory.ts'
import type { SimulatedServer } from './simulated-server.ts'

interface Asked {
  resolve(line: string): void
  reject(error: Error): void
}

/** A client of a simulated server that speaks in lines: one answer for each request, in order. */
export class LineClient {
  readonly socket: Socket
  readonly #asked: Asked[] = []
  #greeting: string
  #rest = ''
  #error: Error | undefined

  /** @param greeting - what the server says first: it is the answer to nothing */
  constructor(socket: Socket, greeting = '') {
    this.socket = socket
    this.#greeting = greeting.trimEnd()
    socket.on('data', (data: Buffer) => this.#onData(data))
    socket.on('error', error => {
      this.#error ??= error
    })
    socket.on('close', () => this.#onClose())
  }

  /** How many requests have no answer yet. */
  get unanswered(): number {
    return this.#asked.length
  }

  /** Sends a line. Rejects if the connection ends before the answer. */
  request(line: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.socket.destroyed) {
        reject(this.#error ?? new Error('the connection is closed'))
        return
      }
      this.#asked.push({ resolve, reject })
      this.socket.write(`${line}\n`)
    })
  }

  #onData(data: Buffer): void {
    const lines = (this.#rest + data.toString()).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      if (this.#greeting !== '' && line === this.#greeting) this.#greeting = ''
      else this.#asked.shift()?.resolve(line)
    }
  }

  #onClose(): void {
    const error = this.#error ?? new Error('the connection was closed')
    for (const { reject } of this.#asked.splice(0)) reject(error)
  }
}

/** A factory of {@link LineClient}s of one server, for a pool. */
export function lineFactory(server: SimulatedServer): Factory<LineClient> {
  return {
    create: async signal => new LineClient(await server.connect(signal), server.greeting),
    destroy: ({ socket }) =>
      new Promise(resolve => {
        if (socket.closed) resolve()
        else socket.once('close', () => resolve()).destroy()
      }),
    validate: async client => (await client.request('PING')) === 'PONG',
    socket: client => client.socket,
    busy: client => client.unanswered > 0,
    server: { address: server.host, port: server.port },
  }
}
