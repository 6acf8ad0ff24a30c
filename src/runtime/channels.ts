import { type Channel, channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { AcquireMessage, CreateMessage, UseMessage, ValidateMessage } from '../api/channels.ts'
import { inMicrotask, runInCapturedContext } from './async-context.ts'

/*
 * The diagnostics channels. Check `hasSubscribers` before building a message, so that unused channels cost nothing.
 */

export type Operation<M extends object> = TracingChannel<object, M>

export const acquireChannel: Operation<AcquireMessage> = tracingChannel('lifeguard-pool:acquire')
export const createChannel: Operation<CreateMessage> = tracingChannel('lifeguard-pool:create')
export const validateChannel: Operation<ValidateMessage> = tracingChannel('lifeguard-pool:validate')
export const useChannel: Operation<UseMessage> = tracingChannel('lifeguard-pool:use')

/** Events that are also published on a channel. */
const PUBLISHED = [
  'release',
  'destroy',
  'state',
  'half-close',
  'deadlock',
  'leak',
  'shed',
  'breaker',
  'stall',
] as const
const EVENT_CHANNELS: ReadonlyMap<string, Channel> = new Map(
  PUBLISHED.map(event => [event, channel(`lifeguard-pool:${event}`)]),
)

/** Published when a pool has been created. */
export const createdChannel: Channel = channel('lifeguard-pool:created')

/** Kept in a constant because it is checked for every loan. */
export const releaseChannel = EVENT_CHANNELS.get('release') as Channel

/** The channel of an event, if it has one with subscribers. */
export function heardChannel(event: string): Channel | undefined {
  const found = EVENT_CHANNELS.get(event)
  return found?.hasSubscribers === true ? found : undefined
}

/**
 * Runs the synchronous part of an operation between `start` and `end`, inside the context that subscribers have bound
 * to it (`channel.start.bindStore`).
 */
export function runOperation<M extends object, R>(operation: Operation<M>, message: M, run: () => R): R {
  return operation.start.runStores(message, () => {
    try {
      return run()
    } finally {
      operation.end.publish(message)
    }
  })
}

/** Ends an operation after its synchronous part: publishes `error` if it failed, then `asyncStart` and `asyncEnd`. */
export function endOperation<M extends { error?: unknown }>(
  operation: Operation<M>,
  message: M,
  failure?: { readonly error: unknown },
): void {
  if (failure !== undefined) {
    message.error = failure.error
    operation.error.publish(message)
  }
  operation.asyncStart.publish(message)
  operation.asyncEnd.publish(message)
}

/**
 * A traced acquire. Its end is published in its caller's async context, before the caller continues, and never in the
 * middle of a step of the pool: for an acquire that waited, in a separate microtask. The code that settles the acquire
 * publishes it. A `then` on the caller's promise would hide from V8 who awaits that promise.
 */
export class TracedAcquire {
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
