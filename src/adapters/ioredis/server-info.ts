import type { ServerInfo } from '../../api/factory.ts'
import type { RedisClient } from './client/client-types.ts'

interface Address {
  readonly host?: unknown
  readonly port?: unknown
  readonly path?: unknown
  readonly db?: unknown
  readonly sentinels?: unknown
}

/** Which server a client is for. With sentinels the address changes, so it is left out. */
export function serverOf(client: RedisClient): ServerInfo {
  const { host, port, path, db, sentinels } = client.options as Address
  const known = { system: 'redis', database: String(db ?? 0) }
  if (Array.isArray(sentinels) && sentinels.length > 0) return known
  if (typeof path === 'string') return { ...known, address: path }
  return { ...known, address: String(host ?? 'localhost'), port: Number(port ?? 6379) }
}
