import type { Socket } from 'node:net'
import { messageOf } from '../api/errors.ts'
import { backoff } from '../runtime/time/backoff.ts'
import type { Clock } from '../runtime/time/clock.ts'
import { isCheckable } from './conn-check.ts'
import { PipedStreams } from './piped-streams.ts'
import { SocketBaseline } from './socket-baseline.ts'
import { closeSocket, ownDoing, unaskable, unsentBytes, wasSent } from './socket-state.ts'

/** What a watch finds wrong with a connection. */
interface SocketFault {
  readonly reason: 'half-closed' | 'broken' | 'dirty'
  readonly detail: string
  /** For a dirty connection: the name under which metrics count what was left on it, from a small set. */
  readonly left?: string
}

/** The owner of a watch, which answers its questions and receives the faults. */
export interface SocketListener {
  isIdle(): boolean
  /** Has the connection never been lent? */
  isFresh(): boolean
  /** Data has arrived: returns the time, in milliseconds of the pool's clock. */
  heard(): number
  onFault(fault: SocketFault): void
}

/** What the factory says about a connection's socket. */
interface SocketTraits {
  /** The socket is the resource itself, so its borrower reads from it. */
  readonly lentRaw: boolean
  /** The server may send data unasked on an idle connection. */
  readonly unsolicited: boolean
  /** The server may send first. What it sends before the first loan is left for the first borrower. */
  readonly greets: boolean
}

type Emit = (event: string | symbol, ...args: unknown[]) => boolean

/** The longest pause between two checks whether everything has been sent. Milliseconds. */
const LONGEST_PAUSE_MILLIS = 16

/**
 * Watches the socket of a pooled connection.
 *
 * It sees each event when the socket emits it, without a listener. So a borrower who removes all listeners does not
 * switch it off, and an error that nobody else listens for does not end the process. A socket that does not allow this,
 * such as that of an HTTP/2 session, gets listeners.
 *
 * If nobody reads from a socket, data in front of a FIN keeps it in CLOSE_WAIT for ever. So an idle socket is kept
 * flowing, and data on it means that the connection must be closed. Who reads depends on the socket:
 *
 *     a client reads it (ioredis)   the client does; data that arrives while it is idle is kept from it
 *     lent raw, or not flowing      the pool's listener while it is idle; nobody while it is lent, as a borrower who has
 *                                   not begun to read would lose data; nobody before the first loan either
 *     server sends unasked (push)   the client: the data is for it
 *
 * If the peer goes away while the connection is idle, the socket is closed in the same tick. If it is lent, the
 * borrower may still be reading, so the fault is only recorded.
 */
export class SocketWatch {
  readonly socket: Socket
  readonly traits: SocketTraits
  /** Whether there is a kernel socket, and whether it uses TLS. */
  readonly hasHandle: boolean
  readonly isSecure: boolean
  /** When data last arrived, and when the connection was last left to wait for a poll phase because of that. */
  heardAt = Number.NEGATIVE_INFINITY
  deferredAt = Number.NEGATIVE_INFINITY
  readonly #listener: SocketListener
  readonly #reader: 'client' | 'pool' | 'nobody'
  readonly #baseline: SocketBaseline
  readonly #canSwallow: boolean
  readonly #piped = new PipedStreams()
  /** Whether the pool's `data` listener is attached, and the state to restore after it. */
  #isFlowing = false
  #wasFlowing: boolean | null = null
  #hasStopped = false
  /** An error that the socket threw while it could not be reported. */
  #broken: SocketFault | undefined

  /** May throw, because the socket may be the user's own. */
  constructor(socket: Socket, traits: SocketTraits, listener: SocketListener) {
    this.socket = socket
    this.traits = traits
    this.#listener = listener
    this.hasHandle = '_handle' in socket
    this.isSecure = 'encrypted' in socket
    this.#reader = traits.unsolicited ? 'nobody' : readsItself(socket, traits) ? 'client' : 'pool'
    this.#canSwallow = this.#interceptEvents()
    if (!this.#canSwallow) this.#addListeners()
    this.#baseline = new SocketBaseline(socket, traits.lentRaw)
  }

  get isLookable(): boolean {
    return !this.traits.unsolicited && isCheckable(this.socket)
  }

  /** May data from the server be a greeting, which is for the first borrower? */
  get awaitsGreeting(): boolean {
    return this.traits.greets && this.#listener.isFresh()
  }

  /** Must the pool read from the socket once it is idle? */
  get mayFlow(): boolean {
    return this.#reader === 'pool' && !this.#isFlowing && !this.awaitsGreeting
  }

  /** Bytes written that the kernel has not accepted yet. */
  get unsentBytes(): number {
    return unsentBytes(this.socket)
  }

  /** Has not everything left yet, or is a stream piped into it that has more to give? */
  get isSending(): boolean {
    return this.unsentBytes > 0 || this.#piped.promise
  }

  /** Called when the connection is idle: from now on the pool reads. */
  flow(): void {
    try {
      const { socket } = this
      this.#isFlowing = true
      this.#wasFlowing = socket.readableFlowing
      socket.on('data', this.#onData)
      // A borrower that read from it may have paused it.
      if (socket.readableFlowing === false) socket.resume()
    } catch (error) {
      this.#listener.onFault({ reason: 'broken', detail: unaskable(error) })
    }
  }

  /** Called when the connection is about to be used: its user reads. */
  yield(): void {
    if (!this.#isFlowing) return
    this.#isFlowing = false
    try {
      this.socket.off('data', this.#onData)
      setFlowing(this.socket, this.traits.lentRaw ? null : this.#wasFlowing)
    } catch (error) {
      this.#broken = { reason: 'broken', detail: unaskable(error) }
    }
  }

  /**
   * Removes what a borrower has left behind, so that the next one finds the socket as if it were new.
   * @returns what cannot be removed
   */
  restore(): SocketFault | undefined {
    if (this.#broken !== undefined) return this.#broken
    try {
      if (this.#piped.any) {
        this.#piped.unpipeFrom(this.socket)
        return { reason: 'dirty', left: 'pipe', detail: 'a stream was still being piped into it' }
      }
      const detail = this.#baseline.restore()
      if (detail !== undefined) return { reason: 'dirty', left: 'socket', detail }
      if (this.traits.lentRaw && this.hasHandle && this.socket.readableFlowing !== null) {
        // Otherwise `isPaused()` stays true.
        if (this.socket.isPaused()) this.socket.resume()
        setFlowing(this.socket, null)
      }
      return undefined
    } catch (error) {
      return { reason: 'broken', detail: unaskable(error) }
    }
  }

  /**
   * Waits until the kernel has accepted everything that was written or piped, or cannot accept it any more.
   * @returns whether it has accepted everything
   */
  flushed(clock: Clock, signal: AbortSignal): Promise<boolean> {
    return new Promise(resolve => {
      let rounds = 0
      const check = (): void => {
        if (!this.isSending || signal.aborted) {
          resolve(!this.isSending && wasSent(this.socket))
          return
        }
        clock.after(backoff(rounds, 1, LONGEST_PAUSE_MILLIS), check)
        rounds += 1
      }
      // Most of what was written in this turn is gone in the next one.
      clock.turn(check)
    })
  }

  /** Ends the watch. Errors are still caught, so that a dying socket never crashes the process. */
  stop(): void {
    this.#hasStopped = true
    try {
      this.socket.off('data', this.#onData)
      if (!this.#canSwallow) this.socket.off('end', this.#onEnd).off('close', this.#onClose)
    } catch {
      // A user's own socket. Its further events are ignored.
    }
  }

  /** @returns whether the socket allows its events to be intercepted */
  #interceptEvents(): boolean {
    try {
      const emit: unknown = this.socket.emit
      if (typeof emit !== 'function') return false
      const seen: Emit = (event, ...args) => this.#emit(emit as Emit, event, args)
      this.socket.emit = seen
      return this.socket.emit === seen
    } catch {
      return false
    }
  }

  #addListeners(): void {
    this.socket.on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onError)
    if (this.#reader === 'client') this.socket.on('data', this.#onData)
  }

  #emit(emit: Emit, event: string | symbol, args: unknown[]): boolean {
    switch (event) {
      case 'data':
        this.heardAt = this.#listener.heard()
        // Nobody asked for this data. A client could take it for an answer, or fail.
        if (this.#onData()) return false
        break
      case 'end':
      case 'close':
      case 'error':
        return this.#emitLast(emit, event, args)
      case 'pipe':
        this.#piped.add(args[0])
        break
      case 'unpipe':
        this.#piped.delete(args[0])
    }
    return Reflect.apply(emit, this.socket, [event, ...args])
  }

  /** A client must get the event before the pool destroys it. A borrower must find the fault when it gets the event. */
  #emitLast(emit: Emit, event: 'end' | 'close' | 'error', args: unknown[]): boolean {
    const { lentRaw } = this.traits
    if (lentRaw) this.#onLast(event, args[0])
    try {
      return Reflect.apply(emit, this.socket, [event, ...args])
    } catch (error) {
      if (event !== 'error' || hasListener(this.socket, event)) throw error
      // Nobody listens, so the exception is the error itself, which would end the process.
      return false
    } finally {
      if (!lentRaw) this.#onLast(event, args[0])
    }
  }

  #onLast(event: 'end' | 'close' | 'error', error: unknown): void {
    if (this.#hasStopped) return
    if (event === 'end') this.#onEnd()
    else if (event === 'close') this.#onClose()
    else this.#onError(error)
  }

  /** Also if this side has ended the socket too: it cannot be known which side was first. */
  readonly #onEnd = (): void => this.#lost({ reason: 'half-closed', detail: 'the server closed its side' })
  readonly #onClose = (): void => {
    const own = ownDoing(this.socket)
    this.#lost(
      own === undefined
        ? { reason: 'half-closed', detail: 'the socket closed' }
        : { reason: 'broken', detail: own },
    )
  }
  readonly #onError = (error: unknown): void => this.#lost({ reason: 'broken', detail: messageOf(error) })
  /** @returns whether the data must be kept from all listeners */
  readonly #onData = (): boolean => {
    if (this.#reader === 'nobody' || !this.#listener.isIdle() || this.awaitsGreeting) return false
    this.#lost({ reason: 'dirty', left: 'unread', detail: 'the server sent data while it was idle' })
    return true
  }

  #lost(fault: SocketFault): void {
    if (this.#listener.isIdle()) closeSocket(this.socket)
    this.#listener.onFault(fault)
  }
}

function hasListener(socket: Socket, event: string): boolean {
  try {
    return socket.listenerCount(event) > 0
  } catch {}
  return false
}

/** Does something other than a borrower read from the socket all the time? */
function readsItself(socket: Socket, { lentRaw }: SocketTraits): boolean {
  return !('_handle' in socket) || (!lentRaw && socket.readableFlowing === true)
}

/** `pause()` is not enough: after it, a new `data` listener does not start the flow, as it does on a new socket. */
function setFlowing(socket: Socket, flowing: boolean | null): void {
  if (flowing === false) socket.pause()
  else (socket as { readableFlowing: boolean | null }).readableFlowing = flowing
}
