import { Redis } from 'ioredis'
import { retireBeforeExpiry } from '../../../connections/lifetime.ts'
import { systemClock, type Timer, timeOfDay } from '../../../runtime/time/clock.ts'
import { destroyClient, streamOf } from '../client/client.ts'
import { clientMaker } from '../client/client-options.ts'
import type { Client } from '../client/client-types.ts'
import { openClient } from '../client/open-client.ts'
import type { Address } from '../failover/addresses.ts'
import { splitOptions } from '../redis-pool-options.ts'
import type { ClusterConfig } from './cluster-options.ts'

/** A connection that is to retire and waits for an answer is looked at again after this time. Milliseconds. */
const BUSY_MILLIS = 5

/** Opens the pool's own connections to nodes, with the same options as those that are lent. */
export function openerOf({
  redis,
  pool,
}: ClusterConfig): (address: Address, signal: AbortSignal) => Promise<Client> {
  const { credentials } = splitOptions(pool).adapter
  return async (address, signal) => {
    const make = clientMaker(Redis, { ...redis, ...address }, credentials !== undefined)
    const open = async (given?: Parameters<typeof make>[0]): Promise<Client> =>
      (await openClient(
        () => make(given),
        signal,
        () => {},
        false,
      )) as unknown as Client
    if (credentials === undefined) return open()
    return credentials.open(signal, async given => {
      const client = await open(given)
      if (given.expiresAt !== undefined) retireBefore(given.expiresAt, client)
      return client
    })
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
