import type { Socket } from 'node:net'
import { messageOf } from '../api/errors.ts'
import type { Clock } from '../runtime/time/clock.ts'
import { descriptorOf } from './conn-check.ts'
import { PipedStreams } from './piped-streams.ts'
import { SocketBaseline } from './socket-baseline.ts'
import { closeSocket, ownDoing, unaskable, unsentBytes, wasSent } from './socket-state.ts'

/** What a watch finds wrong with a connection. */
export interface SocketFault {
  readonly reason: 'half-closed' | 'broken' | 'dirty'
  readonly detail: string
}

/** Whom a watch reports to. */
export interface SocketListener {
  isIdle(): boolean
  /** Has nobody had the connection yet? */
  isFresh(): boolean
  onFault(fault: SocketFault): void
}

/** What the factory says of a connection's socket. */
export interface SocketTraits {
  /** It is the resource itself: whoever borrows it reads from it. */
  readonly lentRaw: boolean
  /** The server may speak unasked on an idle connection. */
  readonly unsolicited: boolean
  /** The server may speak first: what it says before the first loan is for the first borrower. */
  readonly greets: boolean
}

type Emit = (event: string | symbol, ...args: unknown[]) => boolean

/** Longest pause between two looks whether everything has been sent. Milliseconds. */
const LONGEST_PAUSE_MILLIS = 16

/**
 * Watches the socket of a pooled connection.
 *
 * It sees each event as the socket emits it, and has no listeners there: a borrower who removes all listeners takes
 * nothing away from it, and an error that nobody else listens for does not end the process. A socket that lets nobody
 * do that (the one of an HTTP/2 session) gets listeners.
 *
 * A socket that nobody reads from stays in CLOSE_WAIT for ever once data lies in front of the FIN, so an idle one is
 * kept flowing, and data on it means that the connection is spoilt. Who reads depends on whose socket it is:
 *
 *     client reads it (ioredis)     it does; what comes while the connection is idle is kept from it
 *     lent raw, or not flowing      a listener while it is idle; none while it is lent, or a borrower who has yet to
 *                                   begin reading would lose what comes meanwhile; none before the first loan, either
 *     speaks unasked (push)         the client: what is said is for it
 *
 * When the peer goes away while it is idle, it is closed in the same tick. While it is lent the borrower may still be
 * reading: only the mark is set.
 */
export class SocketWatch {
  readonly socket: Socket
  readonly traits: SocketTraits
  /** Whether there is a kernel socket, and whether it speaks TLS. */
  readonly hasHandle: boolean
  readonly isSecure: boolean
  readonly #listener: SocketListener
  readonly #reader: 'client' | 'pool' | 'nobody'
  readonly #baseline: SocketBaseline
  readonly #canSwallow: boolean
  readonly #piped = new PipedStreams()
  /** Whether the listener of an idle socket is there, and what to put back when it goes. */
  #isFlowing = false
  #wasFlowing: boolean | null = null
  #hasStopped = false
  /** What it threw where nobody could be told. */
  #broken: SocketFault | undefined

  /** May throw: the socket may be the user's own. */
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
    return !this.traits.unsolicited && descriptorOf(this.socket) !== undefined
  }

  /** May what the server says now be a greeting, which is for the first borrower? */
  get awaitsGreeting(): boolean {
    return this.traits.greets && this.#listener.isFresh()
  }

  /** Must the socket be made to flow once it is idle? */
  get mayFlow(): boolean {
    return this.#reader === 'pool' && !this.#isFlowing && !this.awaitsGreeting
  }

  /** Bytes that its borrower has written, and that the kernel has not taken yet. */
  get unsentBytes(): number {
    return unsentBytes(this.socket)
  }

  /** Has not everything left yet, or is a stream piped into it that has more to give? */
  get isSending(): boolean {
    return this.unsentBytes > 0 || this.#piped.promise
  }

  /** The connection is idle: the pool reads. */
  flow(): void {
    try {
      const { socket } = this
      this.#isFlowing = true
      this.#wasFlowing = socket.readableFlowing
      socket.on('data', this.#onData)
      // A reader of its own may have paused it.
      if (socket.readableFlowing === false) socket.resume()
    } catch (error) {
      this.#listener.onFault({ reason: 'broken', detail: unaskable(error) })
    }
  }

  /** The connection is about to be used: its user reads. */
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
   * Takes away what a borrower has left behind, so that the next one finds the socket as if it were new.
   * @returns what cannot be taken away
   */
  restore(): SocketFault | undefined {
    if (this.#broken !== undefined) return this.#broken
    try {
      if (this.#piped.any) {
        this.#piped.takeOff(this.socket)
        return { reason: 'dirty', detail: 'a stream was still being piped into it' }
      }
      const detail = this.#baseline.restore()
      if (detail !== undefined) return { reason: 'dirty', detail }
      if (this.traits.lentRaw && this.hasHandle && this.socket.readableFlowing !== null) {
        // Else `isPaused()` stays true.
        if (this.socket.isPaused()) this.socket.resume()
        setFlowing(this.socket, null)
      }
      return undefined
    } catch (error) {
      return { reason: 'broken', detail: unaskable(error) }
    }
  }

  /**
   * Waits until the kernel has taken everything that was written or piped, or cannot take it any more.
   * @returns whether it has
   */
  flushed(clock: Clock, signal: AbortSignal): Promise<boolean> {
    return new Promise(resolve => {
      let pause = 1
      const check = (): void => {
        if (!this.isSending || signal.aborted) {
          resolve(!this.isSending && wasSent(this.socket))
          return
        }
        clock.after(pause, check)
        pause = Math.min(pause * 2, LONGEST_PAUSE_MILLIS)
      }
      // What was written in this turn is mostly gone by the next.
      clock.turn(check)
    })
  }

  /** Ends the watch. An error still finds somebody: a dying socket never crashes the process. */
  stop(): void {
    this.#hasStopped = true
    try {
      this.socket.off('data', this.#onData)
      if (!this.#canSwallow) this.socket.off('end', this.#onEnd).off('close', this.#onClose)
    } catch {
      // A socket of the user's own. Nobody hears what it still has to say.
    }
  }

  /** @returns whether the socket lets its events be seen in this way */
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
        // Nobody has asked: a client may take it for an answer, or fail over it.
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

  /** A client is to hear it before the pool destroys it; a borrower finds the mark when it hears it. */
  #emitLast(emit: Emit, event: 'end' | 'close' | 'error', args: unknown[]): boolean {
    const { lentRaw } = this.traits
    if (lentRaw) this.#onLast(event, args[0])
    try {
      return Reflect.apply(emit, this.socket, [event, ...args])
    } catch (error) {
      if (event !== 'error' || hasListener(this.socket, event)) throw error
      // Nobody listens: what is thrown is the error itself, and would end the process.
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

  /** Also where this side has ended as well: which of the two was first cannot be told. */
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
  /** @returns whether nobody is to have it */
  readonly #onData = (): boolean => {
    if (this.#reader === 'nobody' || !this.#listener.isIdle() || this.awaitsGreeting) return false
    this.#lost({ reason: 'dirty', detail: 'the server spoke while the connection was idle' })
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
  } catch {
    return false
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
