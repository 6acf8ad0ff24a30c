import { streamOf } from '../client/client.ts'
import type { RedisClient } from '../client/client-types.ts'

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
