/* A proxy between a pool and a server that sees when the client sends, and can do to a connection what a network can. */

import { once } from 'node:events'
import { unlinkSync } from 'node:fs'
import {
  type AddressInfo,
  connect,
  createServer,
  type NetConnectOpts,
  type Server,
  type Socket,
} from 'node:net'

interface Pair {
  readonly near: Socket
  readonly far: Socket
  /** Nothing goes through any more. */
  isStalled: boolean
}

/** There is no RST on a Unix socket: it closes, and what is unread is lost. */
export function reset(socket: Socket): void {
  if (socket.remoteAddress === undefined) socket.destroy()
  else socket.resetAndDestroy()
}

export class FaultProxy {
  /** Set: accepted connections are not passed on, and nobody is told. */
  isSilent = false
  /** Set: nothing of what the client sends is read. */
  isSlow = false
  /** What becomes of the next bytes that the server sends. */
  mangle: ((data: Buffer, near: Socket) => Buffer | undefined) | undefined
  /** Called once when the client sends something. What it sends is passed on after that. */
  onClientData: (() => Promise<void>) | undefined
  readonly #target: NetConnectOpts
  readonly #pairs = new Set<Pair>()
  readonly #silent = new Set<Socket>()
  #server: Server | undefined
  #address: { port: number } | { path: string }

  constructor(target: NetConnectOpts, path?: string) {
    this.#target = target
    this.#address = path === undefined ? { port: 0 } : { path }
  }

  get address(): { host: string; port: number } | { path: string } {
    return 'path' in this.#address ? this.#address : { host: '127.0.0.1', ...this.#address }
  }

  /** How many connections the client has. */
  get connections(): number {
    return this.#pairs.size + this.#silent.size
  }

  /** How many of them still work in both directions. */
  async listen(): Promise<void> {
    if (this.#server !== undefined) return
    const server = createServer({ noDelay: true, allowHalfOpen: true }, near => this.#accept(near))
    this.#server = server
    server.listen('path' in this.#address ? this.#address : { host: '127.0.0.1', ...this.#address })
    await once(server, 'listening')
    if ('port' in this.#address) this.#address = { port: (server.address() as AddressInfo).port }
  }

  /** Connects are refused. Connections stay. */
  refuse(): void {
    const server = this.#server
    this.#server = undefined
    server?.close()
    if ('path' in this.#address)
      try {
        unlinkSync(this.#address.path)
      } catch {
        // Closed is gone, too.
      }
  }

  /** Nothing goes through the present connections any more. */
  stall(): void {
    for (const pair of this.#pairs) pair.isStalled = true
  }

  each(act: (near: Socket, far: Socket) => void): void {
    for (const { near, far } of [...this.#pairs]) act(near, far)
  }

  slow(isSlow: boolean): void {
    this.isSlow = isSlow
    this.each(near => (isSlow ? near.pause() : near.resume()))
  }

  stop(): void {
    this.refuse()
    this.each((near, far) => {
      near.destroy()
      far.destroy()
    })
    for (const socket of this.#silent) socket.destroy()
  }

  #accept(near: Socket): void {
    near.on('error', () => {})
    if (this.isSilent) {
      this.#silent.add(near)
      near.on('close', () => this.#silent.delete(near)).on('end', () => near.end())
      near.resume()
      return
    }
    const far = connect({ ...this.#target, noDelay: true, allowHalfOpen: true } as NetConnectOpts)
    const pair: Pair = { near, far, isStalled: false }
    this.#pairs.add(pair)
    near.on('data', data => void this.#fromClient(pair, data))
    far.on('data', data => this.#fromServer(pair, data))
    near.on('end', () => {
      far.end()
      if (pair.isStalled) near.end()
    })
    far.on('end', () => {
      if (!pair.isStalled) near.end()
    })
    far.on('error', () => reset(near))
    near.on('close', hadError => {
      this.#pairs.delete(pair)
      if (hadError) reset(far)
      else far.destroy()
    })
    far.on('close', () => {
      if (!pair.isStalled && !near.writableEnded) near.end()
    })
    if (this.isSlow) near.pause()
  }

  async #fromClient(pair: Pair, data: Buffer): Promise<void> {
    const { near, far } = pair
    const act = this.onClientData
    if (act !== undefined) {
      this.onClientData = undefined
      near.pause()
      await act()
      if (!this.isSlow) near.resume()
    }
    if (!pair.isStalled && far.writable) far.write(data)
  }

  #fromServer({ near, isStalled }: Pair, data: Buffer): void {
    const { mangle } = this
    this.mangle = undefined
    const passed = mangle === undefined ? data : mangle(data, near)
    if (!isStalled && passed !== undefined && near.writable) near.write(passed)
  }
}
