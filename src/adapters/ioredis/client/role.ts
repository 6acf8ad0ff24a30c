import { messageOf, PoolError } from '../../../api/errors.ts'
import { hostPort } from '../../../api/messages/wording.ts'
import type { WantedRole } from '../redis-pool-options.ts'
import { connectorOf } from './client.ts'
import type { RedisClient } from './client-types.ts'
import { isUnsupported } from './replies/error-replies.ts'

/** What the server reported about itself when the connection was made: the fields of INFO, all as text. */
type Info = Readonly<Record<string, string | undefined>>

const infos = new WeakMap<RedisClient, Info>()

/**
 * Keeps the reply to the INFO that ioredis sends before a client is ready. So it costs nothing to know whether the
 * server is a primary and how many clients it accepts. With sentinels, ioredis would check the role itself and close
 * the connection without giving a reason.
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
 * Refuses a connection whose server has the wrong role. If INFO is denied, it tries HELLO, which Redis allows
 * everybody. If neither works, the connection is accepted.
 *
 * @returns whether the role is known, if it matters
 * @throws PoolError `POOL_CONNECT_FAILED`
 */
export async function checkRole(client: RedisClient, wanted: WantedRole): Promise<boolean> {
  const info = infoOf(client)
  if (hasLostPrimary(info)) await checkService(client)
  if (wanted === 'any') return true
  const role = info.role ?? (await askRole(client))
  const isReplica = role === 'slave' || role === 'replica'
  const isPrimary = role === 'master' || role === 'primary'
  if (wanted === 'primary' ? !isReplica : !isPrimary) return isReplica || isPrimary
  const [is, where] = isReplica
    ? ['a replica', "Ask for replicas with role: 'replica', or accept any server with role: 'any'"]
    : ['a primary', "Accept any server with role: 'any'"]
  throw refusal(
    client,
    `the server is ${is}, and the pool wants a ${wanted}. After a failover the address will lead to the right one ` +
      `again. ${where}`,
  )
}

const hasLostPrimary = ({ role, master_link_status: link }: Info): boolean =>
  role === 'slave' && link === 'down'

/** A replica that has lost its primary may be configured to refuse all commands, so any command shows it. */
async function checkService(client: RedisClient): Promise<void> {
  try {
    await client.ping()
  } catch (error) {
    if (!isUnsupported(error)) throw refusal(client, `the replica does not serve now: ${messageOf(error)}`)
  }
}

/**
 * Asks the server of an open connection whether it still has the right role.
 *
 * @returns why it has not, or undefined
 * @throws if the role cannot be found out, or with the error reply that shows the wrong role
 */
export async function wrongRole(client: RedisClient, wanted: WantedRole): Promise<string | undefined> {
  const asked = [client.call('INFO', 'replication'), client.ping()].map(reply =>
    reply.catch(unlessUnsupported),
  )
  const [text] = await Promise.all(asked)
  if (wanted !== 'primary') return undefined
  const role = /^role:(\w+)/m.exec(String(text))?.[1] ?? (await askRole(client))
  if (role === undefined) throw new Error('the server does not report its role')
  return role === 'master' ? undefined : `the server is a ${role}`
}

function unlessUnsupported(error: unknown): void {
  if (!isUnsupported(error)) throw error
}

/** The warning for a server whose role cannot be found out, so that nobody relies on the check. */
export function roleUnknown(client: RedisClient, wanted: WantedRole): string {
  const refusal = refusals.get(client)
  const why = refusal === undefined ? 'it closes the connection on unknown commands' : messageOf(refusal)
  return (
    `the server at ${addressOf(client)} reports its role neither in INFO nor in HELLO (${why}): the pool wants a ${wanted}, ` +
    "and cannot check whether it is one before a command fails. role: 'any' switches the check off"
  )
}

function refusal(client: RedisClient, why: string): PoolError {
  return new PoolError('POOL_CONNECT_FAILED', `connecting to Redis at ${addressOf(client)}: ${why}`)
}

/** The server that a client is connected to, in words. */
export function addressOf(client: RedisClient): string {
  const { host, port, path } = client.options as Record<string, unknown>
  const { remoteAddress = host, remotePort = port } = client.stream
  return String(path ?? hostPort(remoteAddress, remotePort))
}

/** The error replies to HELLO. */
const refusals = new WeakMap<RedisClient, unknown>()

/** The role by HELLO, which Redis allows everybody; undefined if it does not say. */
export async function askRole(client: RedisClient): Promise<string | undefined> {
  const { call } = client as unknown as { call(name: string): Promise<unknown> }
  try {
    const reply = await call.call(client, 'HELLO')
    const fields = Array.isArray(reply) ? pairs(reply) : (reply as Record<string, unknown>)
    const role = fields?.role
    return role === undefined ? undefined : String(role)
  } catch (error) {
    refusals.set(client, error)
    return undefined
  }
}

function pairs(list: readonly unknown[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (let at = 0; at + 1 < list.length; at += 2) fields[String(list[at])] = list[at + 1]
  return fields
}
