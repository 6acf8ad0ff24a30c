import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { tlsCertificate, tlsKey } from './tls.ts'

/** How the fault server treats its connections. Sent to a worker or a process, so plain data. */
export interface FaultServerOptions {
  /** `'silent'` (default) reads and drops, `'echo'` answers what it gets, `'greeting'` sends `greeting` at once. */
  mode?: 'silent' | 'echo' | 'greeting'
  /** Default `'hello\n'`. */
  greeting?: string
  /** Listen on this Unix socket instead of a free port of 127.0.0.1. */
  path?: string
  /** Speak TLS. `closeNotify: false`: a FIN comes without the farewell of TLS, as from a crashed server. */
  tls?: { version?: '1.2' | '1.3'; closeNotify?: boolean }
  /** Keep the server's half open when a client ends. Default false. */
  allowHalfOpen?: boolean
}

/** Where the server listens. */
export interface FaultAddress {
  host: string
  port: number
  path: string | undefined
}

/**
 * What can be asked of the server. Connections count from 0 in the order of their arrival; an operation is done when
 * the kernel has it.
 */
export interface FaultOperations {
  /** Ends the server's half. */
  fin(index: number): void
  finAll(): void
  /** Resets. On a Unix socket, which knows no reset, closes: the client sees one only if it had sent unread data. */
  rst(index: number): void
  /** Sends, and the FIN right behind it. */
  dataThenFin(index: number, data: string | Uint8Array): void
  /** Sends; more than the kernel's buffers hold is not done before the client reads. */
  write(index: number, data: string | Uint8Array): void
  /** Stops reading, so that what the client sends fills the kernel's buffers. */
  pause(index: number): void
  resume(index: number): void
  /** Stops listening: further connects are refused. Connections stay. */
  refuse(): void
  /** How many connections there have been. */
  connections(): number
  /** How many of them are closed on the server's side. */
  closed(): number
  /** How many bytes a client has sent (plain text, with TLS). */
  received(index: number): number
  /** Which connection the client with this local port is, once it has been accepted: later than the client knows. */
  indexOf(localPort: number): number
  waitForConnections(count: number): void
  waitForClosed(count: number): void
}

export type FaultOperation = keyof FaultOperations

interface Connection {
  /** The TCP or Unix socket; equals `socket` without TLS. */
  raw: Socket
  socket: Socket
  remotePort: number | undefined
  received: number
  closed: boolean
}

/** The server itself; runs in the worker or the child process. */
export class FaultServerCore {
  private readonly options: FaultServerOptions
  private readonly server: Server
  private readonly context: SecureContext | undefined
  private readonly list: Connection[] = []
  private readonly waiting = new Set<() => void>()

  constructor(options: FaultServerOptions) {
    this.options = options
    const version = `TLSv${options.tls?.version ?? '1.3'}` as const
    this.context =
      options.tls &&
      createSecureContext({ key: tlsKey, cert: tlsCertificate, minVersion: version, maxVersion: version })
    this.server = createServer({ allowHalfOpen: options.allowHalfOpen ?? false, noDelay: true })
    this.server.on('connection', raw => this.accept(raw))
  }

  async listen(): Promise<FaultAddress> {
    const { path } = this.options
    const listening = once(this.server, 'listening')
    if (path === undefined) this.server.listen(0, '127.0.0.1')
    else this.server.listen(path)
    await listening
    const address = this.server.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    return { host: '127.0.0.1', port, path }
  }

  /** Resolves when the operation is done; see {@link FaultOperations}. */
  async perform(operation: FaultOperation, args: readonly unknown[]): Promise<unknown> {
    const [first, second] = args
    switch (operation) {
      case 'fin':
        return this.fin(this.at(first))
      case 'finAll':
        return Promise.all(this.list.filter(one => !one.closed).map(one => this.fin(one))).then(
          () => undefined,
        )
      case 'rst':
        return this.rst(this.at(first))
      case 'dataThenFin':
        return this.fin(this.at(first), second as string | Uint8Array)
      case 'write':
        return new Promise<void>((resolve, reject) => {
          this.at(first).socket.write(second as string | Uint8Array, error =>
            error ? reject(error) : resolve(),
          )
        })
      case 'pause':
        return stopReading(this.at(first).socket)
      case 'resume':
        this.at(first).socket.resume()
        return undefined
      case 'refuse':
        this.server.close()
        return undefined
      case 'connections':
        return this.list.length
      case 'closed':
        return this.closed()
      case 'received':
        return this.at(first).received
      case 'indexOf':
        return this.until(() => this.indexOf(first) >= 0).then(() => this.indexOf(first))
      case 'waitForConnections':
        return this.until(() => this.list.length >= (first as number))
      case 'waitForClosed':
        return this.until(() => this.closed() >= (first as number))
    }
  }

  private accept(raw: Socket): void {
    raw.on('error', () => {})
    if (this.context === undefined) {
      this.admit(raw, raw)
      return
    }
    const socket = new TLSSocket(raw, { isServer: true, secureContext: this.context })
    socket.on('error', () => {})
    // Documented for client and server alike: 'secure' is emitted once the handshake is complete.
    socket.once('secure', () => this.admit(raw, socket))
  }

  private admit(raw: Socket, socket: Socket): void {
    const connection: Connection = { raw, socket, remotePort: raw.remotePort, received: 0, closed: false }
    this.list.push(connection)
    raw.once('close', () => {
      connection.closed = true
      this.changed()
    })
    socket.on('data', chunk => {
      connection.received += chunk.length
      if (this.options.mode === 'echo') socket.write(chunk)
    })
    if (this.options.mode === 'greeting') {
      socket.write(this.options.greeting ?? 'hello\n', () => this.changed())
    } else this.changed()
  }

  private fin(connection: Connection, data?: string | Uint8Array): Promise<void> {
    const { raw, socket } = connection
    return new Promise((resolve, reject) => {
      // 'finish' comes when shutdown() has returned. Without close_notify the FIN goes past the TLS layer.
      const done = () => resolve()
      socket.once('error', reject)
      if (socket === raw || this.options.tls?.closeNotify !== false) {
        data === undefined ? socket.end(done) : socket.end(data, done)
      } else if (data === undefined) raw.end(done)
      else socket.write(data, () => raw.end(done))
    })
  }

  private rst({ raw, socket, closed }: Connection): Promise<void> | undefined {
    if (closed) return undefined
    return new Promise(resolve => {
      raw.once('close', () => resolve())
      if (this.options.path === undefined) raw.resetAndDestroy()
      else raw.destroy()
      socket.destroy()
    })
  }

  private indexOf(localPort: unknown): number {
    return this.list.findIndex(one => one.remotePort === localPort)
  }

  private closed(): number {
    return this.list.filter(one => one.closed).length
  }

  private at(index: unknown): Connection {
    const connection = this.list[index as number]
    if (connection === undefined) throw new RangeError(`no connection ${index} of ${this.list.length}`)
    return connection
  }

  private until(condition: () => boolean): Promise<void> {
    return new Promise(resolve => {
      const check = () => {
        if (!condition()) return
        this.waiting.delete(check)
        resolve()
      }
      this.waiting.add(check)
      check()
    })
  }

  private changed(): void {
    for (const check of [...this.waiting]) check()
  }
}

/** `pause()` alone lets the stream fill its own buffer first. */
function stopReading(socket: Socket): void {
  socket.pause()
  const { _handle: handle } = socket as Socket & { _handle?: { reading: boolean; readStop(): void } | null }
  if (!handle) return
  handle.reading = false
  handle.readStop()
}
