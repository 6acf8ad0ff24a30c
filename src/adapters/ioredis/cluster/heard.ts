import { systemClock } from '../../../runtime/time/clock.ts'
import { streamOf } from '../client/client.ts'
import type { RedisClient } from '../client/client-types.ts'

/** A command may keep the place of an acquire for so long although questions sent after it are not answered. Milliseconds. */
const MUTE_MILLIS = 5000

/**
 * Finds out whether any of these clients has received anything since the last time.
 *
 * @param clients - those that exist at the time
 */
export function listenerTo(clients: () => Iterable<RedisClient>): () => boolean {
  const known = new WeakMap<RedisClient, number>()
  return () => {
    let hasHeard = false
    for (const client of clients()) {
      const bytes = streamOf(client)?.bytesRead ?? 0
      if (known.get(client) !== bytes) hasHeard = true
      known.set(client, bytes)
    }
    return hasHeard
  }
}

/**
 * Finds out whether these clients have received nothing for so long that a command need not be waited for. To be called
 * whenever a question was not answered in time.
 */
export function muteness(clients: () => Iterable<RedisClient>): () => boolean {
  const hasHeard = listenerTo(clients)
  let heardAt = 0
  return () => {
    if (hasHeard()) heardAt = systemClock.now()
    return systemClock.now() - heardAt >= MUTE_MILLIS
  }
}
