import { messageOf } from '../../api/errors.ts'
import type { Factory, ServerInfo } from '../../api/factory.ts'
import { HANDLES, type HandleFactory } from '../../connections/handles.ts'
import { isHealthy } from '../../sockets/socket-state.ts'
import {
  destroyClient,
  destroyWithError,
  isBusy,
  type RedisClient,
  sentinelClient,
  streamOf,
} from './client/client.ts'
import { failed, openClient } from './client/open-client.ts'
import { checkRole, refuseDeposed } from './client/role.ts'
import { watchReplies } from './failover/failover-replies.ts'
import type { SentinelTarget } from './failover/sentinel-watch.ts'
import { ClientLender } from './handle/client-lender.ts'
import { checkBudget, forgetBudget } from './maxclients.ts'
import { RedisPoolContext, type WantedRole } from './redis-pool-context.ts'
import { serverOf } from './server-info.ts'

/**
 * Errors to a PING that a connection in good order gives, and a new one would give as well: no permission, a server
 * that renamed the command, that cannot save to disk, or that is busy with a script. Others (LOADING, MASTERDOWN,
 * NOAUTH, …) mean that this server, or this connection, is not the right one now.
 */
const ALIVE = /^(?:NOPERM|MISCONF|BUSY|ERR unknown command)\b/

/** What the pool needs to make, lend, check and end ioredis clients. */
export function clientFactory<R extends RedisClient>(
  make: () => R,
  side = new RedisPoolContext(),
): Factory<R> & HandleFactory<R> {
  const faces = new WeakMap<R, ClientLender>()
  let server: ServerInfo = { system: 'redis' }
  return {
    async create(signal) {
      let { epoch } = side
      const client = await side.dial(signal, signal => {
        // It may begin again, after a switch.
        epoch = side.epoch
        return openFit(make, side, signal)
      })
      const face = new ClientLender(client, side)
      faces.set(client, face)
      server = serverOf(client)
      const wanted = wantedRole(client, side)
      if (wanted === 'primary') watchReplies(client, face, epoch)
      side.opened(client, sentinelsOf(client, wanted))
      return client
    },
    async destroy(client) {
      side.closed(client)
      if (side.clients.size === 0) forgetBudget(side)
      await endClient(client)
    },
    validate: isAlive,
    socket: streamOf,
    busy: isBusy,
    serverIdleTimeout: askIdleTimeout,
    get server() {
      return server
    },
    [HANDLES]: {
      lend: client => (faces.get(client) as ClientLender).lend() as unknown as R,
      unlend: (client, handle) => (faces.get(client) as ClientLender).unlend(handle),
    },
  }
}

/** Makes a client whose server is the right one. */
async function openFit<R extends RedisClient>(
  make: () => R,
  side: RedisPoolContext,
  signal: AbortSignal,
): Promise<R> {
  const client = await openClient(make, signal)
  const giveUp = (): void => destroyClient(client)
  signal.addEventListener('abort', giveUp)
  try {
    const wanted = wantedRole(client, side)
    // Where replicas are wanted, the old primary may be one by now.
    if (wanted === 'primary' && side.isDeposed(client)) throw refuseDeposed(client)
    await checkRole(client, wanted)
    await checkBudget(client, side)
    if (signal.aborted) {
      const why = messageOf(signal.reason)
      throw failed(client, `given up while the server was asked for its role (${why})`, signal.reason)
    }
    return client
  } catch (error) {
    destroyClient(client)
    throw error
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
}

/** Unless the user says so: what the options for ioredis ask for. `readOnly` is for replicas, and good on a primary. */
function wantedRole(client: RedisClient, side: RedisPoolContext): WantedRole {
  const { sentinels, role, readOnly } = client.options as Record<string, unknown>
  return side.options.role ?? (sentinels && role === 'slave' ? 'replica' : readOnly ? 'any' : 'primary')
}

function sentinelsOf(client: RedisClient, wanted: WantedRole): SentinelTarget | undefined {
  const { sentinels, name } = client.options as { sentinels?: unknown; name?: unknown }
  if (!Array.isArray(sentinels)) return undefined
  return {
    name: String(name),
    toPrimary: wanted !== 'replica',
    endpoints: sentinels,
    dial: endpoint => sentinelClient(client, endpoint, { lazyConnect: true }),
  }
}

/**
 * Closes the connection at once, without a QUIT that a dead server would never answer. Commands that wait for an
 * answer, a BLPOP for example, are rejected.
 */
async function endClient(client: RedisClient): Promise<void> {
  if (client.status === 'end') return
  const stream = streamOf(client)
  const ended = new Promise<void>(resolve => {
    client.once('end', () => resolve())
    // ioredis does not see the end of a socket whose listeners a borrower has removed.
    stream?.once('close', () => resolve())
  })
  destroyClient(client)
  await ended
  // Nor would it reject what waits for an answer.
  if (client.status !== 'end') destroyWithError(client, new Error('Connection is closed.'))
}

/** Is the connection clean, and does the server answer a PING on it? */
async function isAlive(client: RedisClient, signal: AbortSignal): Promise<boolean> {
  const stream = streamOf(client)
  if (client.status !== 'ready' || stream === undefined || !isHealthy(stream)) return false
  // RESP3 takes a PING while subscribed, and so would not tell.
  if (client.condition?.subscriber || isBusy(client) || signal.aborted) return false
  return new Promise<boolean>(resolve => {
    const onAbort = (): void => resolve(false)
    signal.addEventListener('abort', onAbort)
    const answered = (alive: boolean): void => {
      signal.removeEventListener('abort', onAbort)
      resolve(alive)
    }
    // Inside a MULTI that a borrower left open, the answer is QUEUED.
    client.ping().then(
      reply => answered(reply === 'PONG'),
      (error: unknown) => answered(isReplyError(error) && ALIVE.test(error.message)),
    )
  })
}

/**
 * The `timeout` of the server's configuration. Managed services deny CONFIG or rename it: the rejection means that the
 * pool has to learn. (No hook says that a server may speak unasked: ioredis hands no push message to anybody but the
 * subscriber of a channel, so on an idle connection they are traces of its last borrower.)
 *
 * @returns milliseconds; 0: none; undefined if the answer cannot be read
 */
async function askIdleTimeout(client: RedisClient): Promise<number | undefined> {
  const reply = await client.call('CONFIG', 'GET', 'timeout')
  // Pairs in a flat array, or with RESP3's own mapping a map or an object.
  const seconds = Array.isArray(reply)
    ? reply[reply.findIndex(entry => String(entry) === 'timeout') + 1]
    : reply instanceof Map
      ? reply.get('timeout')
      : (reply as { timeout?: unknown } | null)?.timeout
  const millis = Number(seconds ?? Number.NaN) * 1000
  return Number.isFinite(millis) ? millis : undefined
}

function isReplyError(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError'
}
