import { isPoolError, PoolError } from '../../../api/errors.ts'
import { onAbort, unlessAborted } from '../../../runtime/abort.ts'
import { isReplyError } from '../client/replies/error-replies.ts'
import { type Address, inWords } from './addresses.ts'

/** One attempt to connect. */
export class Dial {
  /** Aborted when this attempt is cancelled, or the connection is no longer wanted. */
  readonly signal: AbortSignal
  /** The signal of the caller that wants the connection. */
  readonly outer: AbortSignal
  /** Servers that this attempt and earlier ones tried to reach. */
  readonly tried: Address[]
  /** The server to connect to, whatever the sentinels say. */
  readonly instead: Address | undefined
  wasSlow = false
  /** Whether the pool asked the sentinels on behalf of the client. */
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

  /** Resolves with the value of the promise, or with undefined as soon as the connection is no longer wanted. */
  unlessOver<R>(promise: Promise<R>): Promise<R | undefined> {
    return unlessAborted(this.outer, promise)
  }

  callOff(error: PoolError): void {
    this.#abort.abort(error)
  }

  /** Cancels the attempt because it makes no progress and there is another server to try. */
  tooSlow(other: Address): void {
    this.wasSlow = true
    this.callOff(new PoolError('POOL_CONNECT_FAILED', `a sentinel names ${inWords(other)} as well`))
  }

  end(): void {
    this.#stopListening()
  }
}

/**
 * Does the error concern the server that was dialled, so that another server may do better? An error reply, such as a
 * wrong password, would be the same on the next server.
 */
export function isAboutServer(error: unknown): boolean {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  if (isReplyError(error) || isReplyError(cause)) return false
  return isPoolError(error) ? error.code === 'POOL_CONNECT_FAILED' : typeof code === 'string'
}
