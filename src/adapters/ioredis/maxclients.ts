import type { RedisClient } from './client/client-types.ts'
import { addressOf, infoOf } from './client/role.ts'
import type { RedisPoolContext } from './redis-pool-context.ts'

/** The pools of this process that have connections, by the address of their server. */
const known = new Map<string, Set<RedisPoolContext>>()

/** Warns once per pool if the pools of all processes together may open more clients than the server accepts. */
export async function checkMaxclients(client: RedisClient, context: RedisPoolContext): Promise<void> {
  const key = addressOf(client)
  if (known.get(key)?.has(context)) return
  const pools = known.get(key) ?? new Set()
  known.set(key, pools.add(context))
  const { connected_clients: connected } = infoOf(client)
  const limit = Number(infoOf(client).maxclients ?? (await askMaxclients(client)))
  if (!(limit > 0)) return
  const here = [...pools].reduce((sum, pool) => sum + pool.max, 0)
  const { instances } = context.options
  const total = here * (instances ?? 1)
  // Other clients connected now may be processes of the same kind, so they count if `instances` is not given.
  const others = instances === undefined ? Math.max(Number(connected ?? 0) - ownClients(pools), 0) : 0
  if (total + others <= limit) return
  const processes = instances === undefined ? 'this process' : `${instances} processes`
  process.emitWarning(
    `pool '${context.name}': the Redis server at ${key} accepts ${limit} clients (maxclients), but ${processes} may open ` +
      `${total} (${pools.size} ${pools.size === 1 ? 'pool' : 'pools'}, max ${here} in each process)` +
      `${others > 0 ? `, and ${others} more are connected to it already` : ''}. Lower max, or raise maxclients` +
      (instances === undefined ? '; set the option instances to the number of processes' : ''),
    { type: 'LifeguardPoolWarning', code: 'LIFEGUARD_POOL_BUDGET' },
  )
}

/** Called when a pool has no connections any more. */
export function forgetMaxclients(context: RedisPoolContext): void {
  for (const [key, pools] of known) {
    if (pools.delete(context) && pools.size === 0) known.delete(key)
  }
}

const ownClients = (pools: ReadonlySet<RedisPoolContext>): number =>
  [...pools].reduce((sum, pool) => sum + pool.failover.clients.size, 1)

/**
 * Servers before Redis 7 do not report the limit in INFO. Managed services may refuse CONFIG; then it stays unknown.
 */
async function askMaxclients(client: RedisClient): Promise<unknown> {
  const { config } = client as unknown as { config(...args: string[]): Promise<unknown> }
  try {
    const reply = await config.call(client, 'GET', 'maxclients')
    return Array.isArray(reply) ? reply[1] : undefined
  } catch {
    return undefined
  }
}
