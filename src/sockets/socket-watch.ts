import type { Socket } from 'node:net'
import { descriptorOf } from './conn-check.ts'
import { CLOSED_HERE, closeSocket, isClosedHere } from './socket-state.ts'

/** Whom a watch reports to. */
export interface SocketListener {
  isIdle(): boolean
  onFault(reason: 'half-closed' | 'broken' | 'dirty', detail: string): void
}

/** What the factory says of a connection's socket. */
export interface SocketTraits {
  /** It is the resource itself: whoever borrows it reads from it. */
  readonly lentRaw: boolean
  /** The server may speak unasked on an idle connection. */
  readonly unsolicited: boolean
}

/** The events for which a borrower may leave listeners on a socket that it was lent. */
const LEFT_BEHIND = [
  'data',
  'readable',
  'end',
  'close',
  'error',
  'drain',
  'timeout',
  'finish',
  'pause',
] as const
type Listener = (...args: unknown[]) => void

/**
 * Watches the socket of a pooled connection.
 *
 * A socket that nobody reads from stays in CLOSE_WAIT for ever once data lies in front of the FIN, so an idle one is
 * kept flowing, and data on it means that the connection is spoilt. Who reads depends on whose socket it is:
 *
 *     client reads it (ioredis)     one listener for good, which listens only while the connection is idle
 *     lent raw, or not flowing      a listener while it is idle; none while it is lent, or a borrower who has yet to
 *                                   begin reading would lose what comes meanwhile
 *     speaks unasked (push)         none: what it says is for the client
 *
 * When the peer goes away while it is idle, it is closed in the same tick. While it is lent the borrower may still be
 * reading: only the mark is set.
 */
export class SocketWatch {
  readonly socket: Socket
  readonly traits: SocketTraits
  /** Whether there is a kernel socket, and whether it can be looked at. */
  readonly hasHandle: boolean
  readonly #watcher: SocketListener
  readonly #reader: 'client' | 'pool' | 'nobody'
  readonly #before: readonly number[]
  readonly #baseline: readonly (readonly unknown[])[]
  /** Whether the listener of an idle socket is there, and what to put back when it goes. */
  #flowing = false
  #wasFlowing: boolean | null = null

  constructor(socket: Socket, nature: SocketTraits, watcher: SocketListener) {
    this.socket = socket
    this.traits = nature
    this.#watcher = watcher
    this.hasHandle = '_handle' in socket
    this.#reader = nature.unsolicited ? 'nobody' : readsItself(socket, nature) ? 'client' : 'pool'
    socket.on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onError)
    if (this.#reader === 'client') socket.on('data', this.#onData)
    this.#baseline = nature.lentRaw ? LEFT_BEHIND.map(event => socket.listeners(event)) : []
    this.#before = this.#baseline.map(listeners => listeners.length)
  }

  get isLookable(): boolean {
    return !this.traits.unsolicited && descriptorOf(this.socket) !== undefined
  }

  /** Must the socket be made to flow once it is idle? */
  get mayFlow(): boolean {
    return this.#reader === 'pool' && !this.#flowing
  }

  /** The connection is idle: the pool reads. */
  flow(): void {
    const { socket } = this
    this.#flowing = true
    this.#wasFlowing = socket.readableFlowing
    socket.on('data', this.#onData)
    // A reader of its own may have paused it.
    if (socket.readableFlowing === false) socket.resume()
  }

  /** The connection is about to be used: its user reads. */
  yield(): void {
    if (!this.#flowing) return
    this.#flowing = false
    this.socket.off('data', this.#onData)
    setFlowing(this.socket, this.traits.lentRaw ? null : this.#wasFlowing)
  }

  /**
   * Takes away what a borrower of the raw socket has left behind, so that the next one finds it as if it were new.
   *
   * @returns what cannot be taken away
   */
  restore(): string | undefined {
    const { socket } = this
    if (!this.traits.lentRaw || !this.hasHandle) return undefined
    for (let index = 0; index < LEFT_BEHIND.length; index += 1) {
      const event = LEFT_BEHIND[index] as string
      if (socket.listenerCount(event) !== this.#before[index])
        this.#remove(event, this.#baseline[index] ?? [])
    }
    if (socket.timeout) socket.setTimeout(0)
    if (socket.readableFlowing !== null) setFlowing(socket, null)
    if (socket.readableEncoding !== null) return 'its borrower has set an encoding, which cannot be undone'
    if (socket.writableCorked > 0) return 'it came back corked'
    return undefined
  }

  /** Ends the watch. An `error` listener stays, so that a dying socket never crashes the process. */
  stop(): void {
    const { socket } = this
    socket.off('end', this.#onEnd).off('close', this.#onClose).off('data', this.#onData)
  }

  #remove(event: string, keep: readonly unknown[]): void {
    const { socket } = this
    if (event === 'data') socket.unpipe()
    for (const listener of socket.listeners(event)) {
      if (!keep.includes(listener)) socket.off(event, listener as Listener)
    }
  }

  /** Also where this side has ended as well: which of the two was first cannot be told. */
  readonly #onEnd = (): void => this.#lost('half-closed', 'the server closed its side')
  readonly #onClose = (): void => {
    if (isClosedHere(this.socket)) this.#lost('broken', CLOSED_HERE)
    else this.#lost('half-closed', 'the socket closed')
  }
  readonly #onError = (error: Error): void => this.#lost('broken', error.message)
  readonly #onData = (): void => {
    if (this.#watcher.isIdle()) this.#lost('dirty', 'the server spoke while the connection was idle')
  }

  #lost(reason: 'half-closed' | 'broken' | 'dirty', detail: string): void {
    if (this.#watcher.isIdle()) closeSocket(this.socket)
    this.#watcher.onFault(reason, detail)
  }
}

/** Does somebody other than a borrower read from the socket all the time? */
function readsItself(socket: Socket, { lentRaw }: SocketTraits): boolean {
  return !('_handle' in socket) || (!lentRaw && socket.readableFlowing === true)
}

/** `pause()` would not do: after it, a new `data` listener does not start the flow as it does on a new socket. */
function setFlowing(socket: Socket, flowing: boolean | null): void {
  if (flowing === false) socket.pause()
  else (socket as { readableFlowing: boolean | null }).readableFlowing = flowing
}
