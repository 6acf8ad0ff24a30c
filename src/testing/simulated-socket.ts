import { Duplex } from 'node:stream'
import type { Timer } from '../runtime/time/clock.ts'
import { type SocketCheck, simulateKernel } from '../sockets/conn-check.ts'
import type { Segment, World } from './wire.ts'

/** How many bytes the kernel takes before the peer has read some. */
const SEND_BUFFER = 128 * 1024

/** The kernel's side of a connection: where a socket sends what it is given. */
export interface Remote {
  readonly host: string
  readonly port: number
  send(segment: Segment): void
}

type Done = (error?: Error | null) => void

const failure = (syscall: string, code: string): Error =>
  Object.assign(new Error(`${syscall} ${code}`), { code, syscall })

/**
 * A client's socket with two sides. What arrives lies in the kernel first. The loop delivers it to JavaScript in a poll
 * phase, as libuv does: all data at once, and a FIN or RST behind it only in the next one.
 */
export class SimulatedSocket extends Duplex {
  /** As in Node: null once the descriptor is closed. */
  _handle: { hasRef(): boolean } | null = { hasRef: () => this.#isReferenced }
  connecting = true
  bytesRead = 0
  timeout = 0
  /** When something last arrived in the kernel. */
  arrivedAt = 0
  readonly localAddress = '127.0.0.1'
  readonly localPort: number
  readonly remoteAddress: string
  readonly remotePort: number
  readonly #world: World
  readonly #remote: Remote
  /** What lies in the kernel, unread. */
  readonly #inbox: (Segment | 'connected' | Error)[] = []
  #wantsData = false
  #isAnnounced = false
  #isReset = false
  #hasSentFin = false
  #isReferenced = true
  #written = 0
  /** Bytes that the kernel has taken and the peer has not read. */
  #outstanding = 0
  #blocked: Done | undefined
  #idle: Timer | undefined

  constructor(world: World, remote: Remote, localPort: number) {
    super({ allowHalfOpen: false })
    this.#world = world
    this.#remote = remote
    this.localPort = localPort
    this.remoteAddress = remote.host
    this.remotePort = remote.port
    simulateKernel(this as never, () => this.kernelCheck())
  }

  get bytesWritten(): number {
    return this.#written + this.writableLength
  }

  get pending(): boolean {
    return this.connecting
  }

  get readyState(): string {
    if (this.connecting) return 'opening'
    if (this.readable && this.writable) return 'open'
    return this.readable ? 'readOnly' : this.writable ? 'writeOnly' : 'closed'
  }

  /** Something arrives in the kernel. */
  arrive(segment: Segment | 'connected' | Error): void {
    if (this._handle === null) {
      // Nobody has this connection any more.
      if (segment instanceof Buffer) this.#remote.send('rst')
      return
    }
    this.#inbox.push(segment)
    this.arrivedAt = this.#world.loop.now()
    this.#announce()
  }

  /** The peer has read so many bytes. */
  taken(bytes: number): void {
    this.#outstanding -= bytes
    if (this.#outstanding > SEND_BUFFER || this.#blocked === undefined) return
    const done = this.#blocked
    this.#blocked = undefined
    this.#world.loop.ready(() => done())
  }

  override _read(): void {
    this.#wantsData = true
    if (!this.connecting) this.#announce()
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, done: Done): void {
    if (this.connecting) {
      this.once('connect', () => this._write(chunk, encoding, done))
      return
    }
    if (this._handle === null) {
      done(failure('write', 'EBADF'))
      return
    }
    if (this.#inbox.includes('rst')) {
      done(failure('write', 'EPIPE'))
      return
    }
    this.#touch()
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk)
    this.#written += bytes.length
    this.#outstanding += bytes.length
    this.#remote.send(bytes)
    if (this.#outstanding > SEND_BUFFER) this.#blocked = done
    else done()
  }

  override _final(done: Done): void {
    if (this.connecting) {
      this.once('connect', () => this._final(done))
      return
    }
    this.#sendFin()
    done()
  }

  override _destroy(error: Error | null, done: Done): void {
    const hasUnread = this.#inbox.some(segment => segment instanceof Buffer)
    const isOpen = this._handle !== null && !this.connecting && !this.#inbox.includes('rst')
    if (isOpen && (this.#isReset || hasUnread)) this.#remote.send('rst')
    else if (isOpen) this.#sendFin()
    else if (this.connecting) this.#remote.send('rst')
    this._handle = null
    this.connecting = false
    this.#idle?.cancel()
    this.#world.loop.closing(() => done(error))
  }

  resetAndDestroy(): this {
    this.#isReset = true
    return this.destroy()
  }

  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  setTimeout(millis: number, onTimeout?: () => void): this {
    this.timeout = millis
    if (onTimeout !== undefined) {
      if (millis === 0) this.off('timeout', onTimeout)
      else this.once('timeout', onTimeout)
    }
    this.#touch()
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    this.#isReferenced = true
    return this
  }

  unref(): this {
    this.#isReferenced = false
    return this
  }

  address(): { address: string; port: number; family: string } {
    return { address: this.localAddress, port: this.localPort, family: 'IPv4' }
  }

  #sendFin(): void {
    if (this.#hasSentFin) return
    this.#hasSentFin = true
    this.#remote.send('fin')
  }

  /** What the kernel would answer to a read. */
  kernelCheck(): SocketCheck {
    if (this._handle === null) return 'unknown'
    const [first] = this.#inbox
    if (first === undefined) return 'healthy'
    if (first === 'fin') return 'fin'
    if (first === 'rst') return 'reset'
    return first instanceof Buffer ? 'data' : 'unknown'
  }

  #touch(): void {
    this.#idle?.cancel()
    this.#idle = undefined
    if (this.timeout > 0 && this._handle !== null)
      this.#idle = this.#world.loop.after(this.timeout, () => this.emit('timeout'))
  }

  #announce(): void {
    if (this.#isAnnounced || this.#inbox.length === 0 || this._handle === null) return
    if (!this.#wantsData && !this.connecting) return
    this.#isAnnounced = true
    this.#world.loop.ready(() => {
      this.#isAnnounced = false
      if (this._handle !== null) this.#deliver()
      this.#announce()
    })
  }

  /** A poll phase: the loop reads once. */
  #deliver(): void {
    const data = this.#takeData()
    if (data !== undefined) {
      this.bytesRead += data.length
      this.#touch()
      if (!this.push(data)) this.#wantsData = false
      return
    }
    const event = this.#inbox.shift()
    if (event === 'fin') {
      this.push(null)
      this.read(0)
    } else if (event === 'rst') {
      this.#inbox.unshift('rst')
      this.destroy(failure('read', 'ECONNRESET'))
    } else if (event === 'connected') {
      this.connecting = false
      this.#touch()
      this.emit('connect')
      this.emit('ready')
      if (!this.isPaused()) this.read(0)
    } else if (event instanceof Error) {
      this.connecting = false
      this.#inbox.push('rst')
      this.destroy(event)
    }
  }

  #takeData(): Buffer | undefined {
    const count = this.#inbox.findIndex(segment => !(segment instanceof Buffer))
    const chunks = this.#inbox.splice(0, count < 0 ? this.#inbox.length : count) as Buffer[]
    return chunks.length === 0 ? undefined : Buffer.concat(chunks)
  }
}
