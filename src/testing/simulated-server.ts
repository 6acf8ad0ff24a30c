import type { Socket } from 'node:net'
import { onAbort } from '../runtime/abort.ts'
import { type PeerOwner, SimulatedPeer } from './simulated-peer.ts'
import { SimulatedSocket } from './simulated-socket.ts'
import { Direction, type World } from './wire.ts'

/** How a simulated server behaves. Times are in virtual milliseconds. */
export interface SimulatedServerOptions {
  /** Appears in the trace and in `remoteAddress`. */
  readonly host?: string | undefined
  readonly port?: number | undefined
  /** The way of a packet, in one direction. Default 1. */
  readonly latencyMillis?: number | undefined
  /** Up to so much longer, by chance. Default 0. */
  readonly jitterMillis?: number | undefined
  /** Closes connections that have been silent for so long. Default 0: never. */
  readonly idleLimitMillis?: number | undefined
  /** Is sent to each new connection, as many servers do. Default: nothing. */
  readonly greeting?: string | undefined
  /** Closes further connections at once. Default: no limit. */
  readonly maxConnections?: number | undefined
  /**
   * What is answered to a line (without its end): a line, nothing, or a promise of it. By default `PONG` to `PING`, and
   * any other line is sent back.
   */
  readonly answer?: ((line: string, peer: SimulatedPeer) => Answer | Promise<Answer>) | undefined
  /** Receives the bytes of a connection as they come, instead of {@link answer}: for a protocol of your own. */
  readonly onData?: ((data: Buffer, peer: SimulatedPeer) => void) | undefined
}

type Answer = string | undefined

/** A server in a simulation: a script, and a machine and a network with faults. */
export class SimulatedServer implements PeerOwner {
  readonly host: string
  readonly port: number
  latencyMillis: number
  jitterMillis: number
  idleLimitMillis: number
  maxConnections: number
  readonly greeting: string | undefined
  isCut = false
  isFrozen = false
  readonly peers = new Set<SimulatedPeer>()
  /** How many connections it has accepted, and how many have been tried. */
  accepted = 0
  tried = 0
  readonly #world: World
  readonly #options: SimulatedServerOptions
  readonly #held: (() => void)[] = []
  readonly #lines = new Map<SimulatedPeer, string>()
  #isListening = true
  #isSilent = false

  constructor(world: World, options: SimulatedServerOptions, port: number) {
    this.#world = world
    this.#options = options
    this.host = options.host ?? '127.0.0.1'
    this.port = options.port ?? port
    this.latencyMillis = options.latencyMillis ?? 1
    this.jitterMillis = options.jitterMillis ?? 0
    this.idleLimitMillis = options.idleLimitMillis ?? 0
    this.greeting = options.greeting
    this.maxConnections = options.maxConnections ?? Number.POSITIVE_INFINITY
  }

  /** Connects a socket to this server. Rejects with the error of the socket, or with the reason of the signal. */
  connect(signal?: AbortSignal): Promise<Socket> {
    const socket = this.dial()
    return new Promise((resolve, reject) => {
      const stop = onAbort(signal, () => {
        socket.destroy()
        reject(signal?.reason)
      })
      socket.on('error', error => {
        stop()
        reject(error)
      })
      socket.once('connect', () => {
        stop()
        resolve(socket)
      })
      if (signal?.aborted) {
        socket.destroy()
        reject(signal.reason)
      }
    })
  }

  /** A socket that is connecting to this server, as `net.connect` returns it. */
  dial(): Socket {
    this.tried += 1
    const id = this.tried
    let peer: SimulatedPeer | undefined
    const toServer = new Direction(this.#world, this, segment => peer?.arrive(segment))
    const { host, port } = this
    const socket = new SimulatedSocket(
      this.#world,
      { host, port, send: segment => toServer.send(segment) },
      40_000 + (id % 20_000),
    )
    this.#afterLatency(() => {
      if (socket._handle === null) return
      if (this.#isListening) peer = this.#accept(id, socket)
      else this.#turnAway(id, socket)
    })
    return socket as unknown as Socket
  }

  #accept(id: number, socket: SimulatedSocket): SimulatedPeer {
    const peer = new SimulatedPeer(id, this.#world, this, () => socket)
    this.accepted += 1
    this.peers.add(peer)
    this.note(`accepts connection ${id}`)
    this.#afterLatency(() => socket.arrive('connected'))
    const { greeting } = this
    if (greeting !== undefined) this.#afterLatency(() => peer.write(greeting))
    if (this.peers.size > this.maxConnections) this.#afterLatency(() => peer.end())
    return peer
  }

  #turnAway(id: number, socket: SimulatedSocket): void {
    this.note(`refuses connection ${id}`)
    const error = new Error(`connect ECONNREFUSED ${this.host}:${this.port}`)
    this.#afterLatency(() =>
      socket.arrive(Object.assign(error, { code: 'ECONNREFUSED', syscall: 'connect' })),
    )
  }

  /** From now on connects are refused. Connections stay. */
  refuse(): void {
    this.note('refuses connects')
    this.#isListening = false
  }

  /** Accepts connects again, after {@link refuse}, {@link stop}, {@link kill} or {@link crash}. */
  start(): void {
    this.note('starts')
    this.#isListening = true
    this.heal()
  }

  /** A clean shutdown: FIN on every connection, connects are refused. */
  stop(): void {
    this.refuse()
    this.endAll()
  }

  /** The process is killed: RST on every connection, connects are refused. */
  kill(): void {
    this.refuse()
    this.resetAll()
    this.isFrozen = false
  }

  /** The machine is gone without a word. After {@link start} it knows none of its connections. */
  crash(): void {
    this.note('is gone')
    this.isCut = true
    this.isFrozen = false
    for (const peer of [...this.peers]) peer.forget()
  }

  /** Stops, and starts again after so long. */
  restart(downMillis = 1000): void {
    this.stop()
    this.#world.loop.outside(downMillis, () => this.start())
  }

  /** The process stands still (SIGSTOP). Its kernel accepts connections and takes data. */
  freeze(): void {
    this.note('stands still')
    this.isFrozen = true
  }

  thaw(): void {
    this.note('goes on')
    this.isFrozen = false
    for (const peer of [...this.peers]) peer.read()
  }

  /** No packet gets through, in either direction, until {@link heal}. Then they arrive, in order. */
  partition(): void {
    this.note('is cut off')
    this.isCut = true
  }

  heal(): void {
    if (!this.isCut) return
    this.note('can be reached again')
    this.isCut = false
    for (const resend of this.#held.splice(0)) resend()
  }

  /** Reads, and answers nothing, until {@link speak}. What is asked meanwhile is never answered. */
  silence(): void {
    this.note('falls silent')
    this.#isSilent = true
  }

  speak(): void {
    this.note('speaks again')
    this.#isSilent = false
  }

  /** Closes its side of every connection (FIN). */
  endAll(): void {
    for (const peer of [...this.peers]) peer.end()
  }

  /** Resets every connection (RST). */
  resetAll(): void {
    for (const peer of [...this.peers]) peer.reset()
  }

  /** Ends all faults that last. */
  recover(): void {
    this.isFrozen = false
    this.#isSilent = false
    this.start()
    this.thaw()
  }

  hold(resend: () => void): void {
    this.#held.push(resend)
  }

  onGone(peer: SimulatedPeer): void {
    this.peers.delete(peer)
    this.#lines.delete(peer)
  }

  onData(peer: SimulatedPeer, data: Buffer): void {
    if (this.#isSilent) return
    if (this.#options.onData !== undefined) {
      this.#options.onData(data, peer)
      return
    }
    const lines = ((this.#lines.get(peer) ?? '') + data.toString()).split('\n')
    this.#lines.set(peer, lines.pop() ?? '')
    for (const line of lines) this.#answer(line, peer)
  }

  note(what: string): void {
    this.#world.trace.add(this.#world.loop.now(), `server: ${what}`)
  }

  #answer(line: string, peer: SimulatedPeer): void {
    const { answer = echo } = this.#options
    const said = answer(line, peer)
    const say = (text: Answer): void => {
      if (text !== undefined) peer.write(`${text}\n`)
    }
    if (said instanceof Promise) void said.then(say)
    else say(said)
  }

  #afterLatency(run: () => void): void {
    this.#world.loop.outside(this.latencyMillis, () => {
      if (this.isCut) this.hold(run)
      else run()
    })
  }
}

const echo = (line: string): string => (line === 'PING' ? 'PONG' : line)
