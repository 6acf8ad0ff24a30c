import { Redis } from 'ioredis'
import { retireBeforeExpiry } from '../../../connections/lifetime.ts'
import { systemClock, type Timer, timeOfDay } from '../../../runtime/time/clock.ts'
import { destroyClient, streamOf } from '../client/client.ts'
import { clientMaker } from '../client/client-options.ts'
import type { Client } from '../client/client-types.ts'
import { openClient } from '../client/open-client.ts'
import type { ClusterConfig } from './cluster-options.ts'
import { type LinkHost, openWithin } from './questions.ts'

/** How long connecting to a node may take, the time for its credentials not counted. Milliseconds. */
const OPEN_MILLIS = 990

/** A connection that is to retire and waits for an answer is looked at again after this time. Milliseconds. */
const BUSY_MILLIS = 5

/**
 * Opens the pool's own connections to nodes, with the same options as those that are lent. The function `credentials` has
 * `createTimeoutMillis`, as for those; a node has less.
 */
export function openerOf({ redis, credentials, createTimeoutMillis }: ClusterConfig): LinkHost['open'] {
  return async (address, signal, time) => {
    const make = clientMaker(Redis, { ...redis, ...address }, credentials !== undefined)
    const open = async (ended: AbortSignal, given?: Parameters<typeof make>[0]): Promise<Client> => {
      time.begin()
      const connect = (signal: AbortSignal): Promise<unknown> =>
        openClient(
          () => make(given),
          signal,
          () => {},
          false,
        )
      return (await openWithin(OPEN_MILLIS, ended, connect)) as Client
    }
    if (credentials === undefined) return open(signal)
    time.hold()
    return openWithin(createTimeoutMillis, signal, ended =>
      credentials.open(ended, async given => {
        try {
          const client = await open(ended, given)
          if (given.expiresAt !== undefined) retireBefore(given.expiresAt, client)
          return client
        } catch (error) {
          // They may be asked for once more.
          time.hold()
          throw error
        }
      }),
    )
  }
}

/** Ends a connection between two answers before its credentials expire, as a connection that is lent retires. */
function retireBefore(expiresAt: number, client: Client): void {
  const left = expiresAt - timeOfDay()
  let timer: Timer
  const retire = (): void => {
    if (client.commandQueue.length > 0) timer = systemClock.after(BUSY_MILLIS, retire)
    else destroyClient(client)
  }
  timer = systemClock.after(Math.max(retireBeforeExpiry(0, left, Math.random), 0), retire)
  streamOf(client)?.once('close', () => timer.cancel())
}
