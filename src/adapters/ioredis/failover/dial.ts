import { isPoolError, PoolError } from '../../../api/errors.ts'
import { onAbort, unlessAborted } from '../../../runtime/abort.ts'
import { isReplyError } from '../client/error-replies.ts'
import { type Address, inWords } from './addresses.ts'

/** One attempt to connect. */
export class Dial {
  /** Aborted when it is given up, or called off. */
  readonly signal: AbortSignal
  /** Of whoever wants the connection. */
  readonly outer: AbortSignal
  /** Servers that it, and the attempts before it, have been led to. */
  readonly tried: Address[]
  /** The server to connect to, whatever the sentinels say. */
  readonly instead: Address | undefined
  wasSlow = false
  /** Whether it is the pool that has asked the sentinels. */
  isDirected = false
  readonly #abort = new AbortController()
  readonly #stopListening: () => void

  constructor(outer: AbortSignal, tried: Address[], instead: Address | undefined) {
    this.signal = this.#abort.signal
    this.outer = outer
    this.tried = tried
    this.instead = instead
    this.#stopListening = onAbort(outer, () => this.#abort.abort(outer.reason))
  }

  get isOver(): boolean {
    return this.outer.aborted
  }

  /** What the promise gives, or undefined as soon as nobody wants the connection any more. */
  unlessOver<R>(promise: Promise<R>): Promise<R | undefined> {
    return unlessAborted(this.outer, promise)
  }

  callOff(error: PoolError): void {
    this.#abort.abort(error)
  }

  /** It gets nowhere, and there is another server to try. */
  tooSlow(other: Address): void {
    this.wasSlow = true
    this.callOff(new PoolError('POOL_CONNECT_FAILED', `a sentinel names ${inWords(other)} as well`))
  }

  end(): void {
    this.#stopListening()
  }
}

/**
 * Is that about the server that a dial was led to, so that another may do better? What a server replies (a wrong password)
 * the next one will reply, too.
 */
export function isAboutServer(error: unknown): boolean {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  if (isReplyError(error) || isReplyError(cause)) return false
  return isPoolError(error) ? error.code === 'POOL_CONNECT_FAILED' : typeof code === 'string'
}
