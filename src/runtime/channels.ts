import { type Channel, channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { AcquireMessage, CreateMessage, UseMessage, ValidateMessage } from '../api/channels.ts'
import { inMicrotask, runInCapturedContext } from './async-context.ts'

/*
 * The diagnostics channels. `hasSubscribers` is asked before anything is built for them.
 */

export type Operation<M extends object> = TracingChannel<unknown, M>

export const acquireChannel: Operation<AcquireMessage> = tracingChannel('lifeguard-pool:acquire')
export const createChannel: Operation<CreateMessage> = tracingChannel('lifeguard-pool:create')
export const validateChannel: Operation<ValidateMessage> = tracingChannel('lifeguard-pool:validate')
export const useChannel: Operation<UseMessage> = tracingChannel('lifeguard-pool:use')

/** Events that are told on a channel as well. */
const TOLD = ['release', 'destroy', 'half-close', 'deadlock', 'leak', 'shed', 'breaker', 'stall'] as const
const PLAIN: ReadonlyMap<string, Channel> = new Map(
  TOLD.map(event => [event, channel(`lifeguard-pool:${event}`)]),
)

/** A pool has been made. */
export const createdChannel: Channel = channel('lifeguard-pool:created')

/** Asked for every loan. */
export const releaseChannel = PLAIN.get('release') as Channel

/** The channel of an event, if it has one and somebody listens there. */
export function heardChannel(event: string): Channel | undefined {
  const found = PLAIN.get(event)
  return found?.hasSubscribers === true ? found : undefined
}

/**
 * Runs the synchronous part of an operation: between `start` and `end`, with what subscribers have bound to it
 * (`channel.start.bindStore`) in force.
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

/** An operation has ended, after its synchronous part: `error` if it failed, then `asyncStart` and `asyncEnd`. */
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
 * An acquire that somebody traces. Its end is told in the context of its caller, before the caller goes on, and never in
 * the middle of a step of the pool: where it has waited, in a microtask of its own. It is told by whoever settles the
 * acquire; a reaction of ours on the caller's promise would hide from V8 who awaits it.
 */
export class TracedAcquire {
  readonly #message: AcquireMessage
  /** Of one that waits. Not made for the others: it takes as long as all the rest. */
  #inContext: ((run: () => void) => void) | undefined = undefined

  constructor(message: AcquireMessage) {
    this.#message = message
    const { start, end } = acquireChannel
    if (start.hasSubscribers) start.runStores(message, nothing)
    if (end.hasSubscribers) end.publish(message)
  }

  /** It has to wait. */
  waits(): this {
    this.#inContext = runInCapturedContext()
    return this
  }

  /** Told in the call itself, which has done its step: the function of `use` may begin before any microtask. */
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
