import { type Channel, channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { AcquireMessage, CreateMessage, UseMessage, ValidateMessage } from '../api/channels.ts'

/*
 * The diagnostics channels. Check `hasSubscribers` before building a message, so that unused channels cost nothing.
 */

type Operation<M extends object> = TracingChannel<object, M>

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
export function channelInUse(event: string): Channel | undefined {
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
