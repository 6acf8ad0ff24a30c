import { PoolError } from '../../../api/errors.ts'
import type { WantedRole } from '../redis-pool-options.ts'
import { connectorOf } from './client.ts'
import type { RedisClient } from './client-types.ts'

/** What the server said of itself when the connection was made: fields of INFO, all of them text. */
export type Info = Readonly<Record<string, string | undefined>>

const infos = new WeakMap<RedisClient, Info>()

/**
 * Keeps the reply to the INFO that ioredis sends before it calls a client ready: it costs nothing more to know whether
 * this is a primary, and how many clients the server takes. By way of sentinels, ioredis itself would compare the role
 * and then close the connection without a reason.
 */
export function keepInfo(client: RedisClient): void {
  const connector = connectorOf(client)
  if (connector === undefined) return
  connector.check = (info: Info) => {
    infos.set(client, info)
    return true
  }
}

export const infoOf = (client: RedisClient): Info => infos.get(client) ?? {}

/**
 * Refuses a connection whose server has the wrong role. A user who may not ask for it by INFO may still ask by HELLO,
 * which Redis lets everybody do; where that is not known either, the connection is taken.
 *
 * @throws PoolError `POOL_CONNECT_FAILED`
 */
export async function checkRole(client: RedisClient, wanted: WantedRole): Promise<void> {
  if (wanted === 'any') return
  const role = infoOf(client).role ?? (await askRole(client))
  const isReplica = role === 'slave' || role === 'replica'
  const isPrimary = role === 'master' || role === 'primary'
  if (wanted === 'primary' ? !isReplica : !isPrimary) return
  const [is, where] = isReplica
    ? ['a replica', "Ask for replicas with role: 'replica', or take whatever there is with role: 'any'"]
    : ['a primary', "Take whatever there is with role: 'any'"]
  throw refusal(
    client,
    `the server is ${is}, and the pool wants a ${wanted}. After a failover the address will lead to the right one ` +
      `again. ${where}`,
  )
}

/** For a connection to the primary that the sentinels have replaced. */
export const refuseDeposed = (client: RedisClient): PoolError =>
  refusal(client, 'a sentinel that has not heard of the failover yet gave the address of the old primary')

function refusal(client: RedisClient, why: string): PoolError {
  const { host, port, path } = client.options as Record<string, unknown>
  const { remoteAddress = host, remotePort = port } = client.stream
  return new PoolError(
    'POOL_CONNECT_FAILED',
    `connecting to Redis at ${path ?? `${remoteAddress}:${remotePort}`}: ${why}`,
  )
}

async function askRole(client: RedisClient): Promise<string | undefined> {
  const { call } = client as unknown as { call(name: string): Promise<unknown> }
  try {
    const reply = await call.call(client, 'HELLO')
    const fields = Array.isArray(reply) ? pairs(reply) : (reply as Record<string, unknown>)
    const role = fields?.role
    return role === undefined ? undefined : String(role)
  } catch {
    return undefined
  }
}

function pairs(list: readonly unknown[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (let at = 0; at + 1 < list.length; at += 2) fields[String(list[at])] = list[at + 1]
  return fields
}
