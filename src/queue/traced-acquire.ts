import type { AcquireMessage } from '../api/channels.ts'
import { inMicrotask, runInCapturedContext } from '../runtime/async-context.ts'
import { acquireChannel, endOperation } from '../runtime/channels.ts'

/** Is told how an acquire that waits ends. */
export interface WaitObserver {
  served(connection: number, loan: number, waitedMillis: number): void
  failed(error: unknown, waitedMillis: number): void
}

/**
 * A traced acquire. Its end is published in its caller's async context, before the caller continues, and never in the
 * middle of a step of the pool: for an acquire that waited, in a separate microtask. The code that settles the acquire
 * publishes it. A `then` on the caller's promise would hide from V8 who awaits that promise.
 */
export class TracedAcquire implements WaitObserver {
  readonly #message: AcquireMessage
  /** Set only for an acquire that waits, because capturing the context costs as much as all the rest. */
  #inContext: ((run: () => void) => void) | undefined = undefined

  constructor(message: AcquireMessage) {
    this.#message = message
    const { start, end } = acquireChannel
    if (start.hasSubscribers) start.runStores(message, nothing)
    if (end.hasSubscribers) end.publish(message)
  }

  /** Called when the acquire has to wait. */
  waits(): this {
    this.#inContext = runInCapturedContext()
    return this
  }

  /**
   * Publishes within the acquire call itself, when its step is done. The function given to `use` may start before any
   * microtask runs.
   */
  servedAtOnce(connection: number, loan: number): void {
    this.#message.connection = connection
    this.#message.loan = loan
    this.#message.waitedMillis = 0
    endOperation(acquireChannel, this.#message)
  }

  served(connection: number, loan: number, waitedMillis: number): void {
    this.#message.connection = connection
    this.#message.loan = loan
    this.#end(waitedMillis, undefined)
  }

  failed(error: unknown, waitedMillis: number): void {
    this.#end(waitedMillis, { error })
  }

  #end(waitedMillis: number, failure: { readonly error: unknown } | undefined): void {
    this.#message.waitedMillis = waitedMillis
    const end = (): void => inMicrotask(() => endOperation(acquireChannel, this.#message, failure))
    if (this.#inContext === undefined) end()
    else this.#inContext(end)
  }
}

const nothing = (): void => {}
