import { messageOf } from '../../api/errors.ts'
import type { Factory, ServerInfo } from '../../api/factory.ts'
import { isRecord } from '../../api/options/read-input.ts'
import { HANDLES, type HandleFactory } from '../../connections/handles.ts'
import { onAbort, unlessAborted } from '../../runtime/abort.ts'
import { isHealthy } from '../../sockets/socket-state.ts'
import {
  connectorOf,
  destroyClient,
  destroyWithError,
  isBusy,
  sentinelClient,
  streamOf,
} from './client/client.ts'
import type { Command, RedisClient } from './client/client-types.ts'
import { type Credentials, unlessExpired } from './client/credentials.ts'
import { closedError, explainLoss } from './client/lost-commands.ts'
import { failed, openClient } from './client/open-client.ts'
import { isReplyError, isUnsupported } from './client/replies/error-replies.ts'
import { permanentAdvice } from './client/replies/permanent-errors.ts'
import { checkRole, roleUnknown } from './client/role.ts'
import { answers, openTersely } from './client/terse.ts'
import type { Address } from './failover/addresses.ts'
import type { Dial } from './failover/dial.ts'
import type { SentinelTarget } from './failover/sentinels.ts'
import { ClientLender, ownerOf, unlend } from './handle/client-lender.ts'
import { checkMaxclients, forgetMaxclients } from './maxclients.ts'
import { RedisPoolContext } from './redis-pool-context.ts'
import type { WantedRole } from './redis-pool-options.ts'
import { serverOf } from './server-info.ts'

/**
 * Error replies to a PING that a healthy connection gives, and that a new connection would give as well: the server
 * cannot save to disk, or is busy with a script. (A server without the command counts as healthy too.) Others, such as
 * LOADING, MASTERDOWN or NOAUTH, mean that this server or connection cannot be used now.
 */
const ALIVE = /^(?:MISCONF|BUSY)\b/

/** Makes a client, with credentials if the pool has a function that gives them. */
export type Make<R> = (credentials: Credentials) => R

/** The factory with which the pool creates, lends, checks and ends ioredis clients. */
export function clientFactory<R extends RedisClient>(
  make: Make<R>,
  context = new RedisPoolContext(),
): Factory<R> & HandleFactory<R> {
  const lenders = new WeakMap<R, ClientLender>()
  const expiries = new WeakMap<R, number>()
  const { failover } = context
  const { credentials } = context.options
  let server: ServerInfo = { system: 'redis' }
  return {
    async create(signal) {
      let { epoch } = failover
      const client = await failover.dial(signal, dial => {
        // The dial may start again after a switch, with a later epoch.
        epoch = failover.epoch
        if (credentials === undefined) return openFit(make as () => R, context, dial)
        return credentials.open(dial.signal, async given => {
          const opened = await openFit(() => make(given), context, dial)
          if (given.expiresAt !== undefined) expiries.set(opened, given.expiresAt)
          return opened
        })
      })
      const lender = new ClientLender(client, context, wantedRole(client, context), epoch)
      lenders.set(client, lender)
      failover.opened(client, lender)
      explainLoss(client, () => context.name)
      server = serverOf(client)
      return client
    },
    async destroy(client) {
      failover.closed(client)
      if (failover.clients.size === 0) forgetMaxclients(context)
      await endClient(client)
    },
    validate: (client, signal) =>
      context.handoffs.isRelaxed(client) ? isSound(client) : isAlive(client, signal, context.isTerse),
    socket: streamOf,
    busy: busyWith,
    isPermanent: permanentAdvice,
    ...(context.options.handoffs && { unsolicited: client => context.handoffs.isListening(client) }),
    ...(credentials && { expiresAt: client => unlessExpired(expiries.get(client)) }),
    serverIdleTimeout: async client => (context.isTerse ? undefined : askIdleTimeout(client)),
    get server() {
      return server
    },
    [HANDLES]: {
      lend: (client, owner) => (lenders.get(client) as ClientLender).lend(owner) as unknown as R,
      ownerOf,
      unlend,
      use: client => (lenders.get(client) as ClientLender).use,
      ...(context.options.handoffs && { isSlow: client => context.handoffs.isRelaxed(client) }),
      leakThresholdMillis: context.options.leakThresholdMillis,
    },
  }
}

/** Creates a client whose server has the right role. */
async function openFit<R extends RedisClient>(
  make: () => R,
  context: RedisPoolContext,
  dial: Dial,
): Promise<R> {
  const { failover, handoffs } = context
  const { signal } = dial
  const onMade = (made: R): void => failover.direct(made, sentinelsOf(made), dial)
  const client = await handoffs.open(make, aimed =>
    openTersely(context, isTerse => openClient(aimed, signal, onMade, isTerse)),
  )
  const stop = onAbort(signal, () => destroyClient(client))
  try {
    const wanted = wantedRole(client, context)
    const isKnown = context.isTerse ? wanted === 'any' : await checkRole(client, wanted)
    if (!isKnown) context.warnOnce('LIFEGUARD_POOL_ROLE', roleUnknown(client, wanted))
    if (!context.isTerse) await checkMaxclients(client, context)
    if (!context.isTerse) await handoffs.listen(client)
    if (context.wantsReadOnly && wanted === 'replica') await enterReadOnly(client)
    if (signal.aborted) {
      const why = messageOf(signal.reason)
      throw failed(client, `given up while the server was asked for its role (${why})`, signal.reason)
    }
    return client
  } catch (error) {
    destroyClient(client)
    throw error
  } finally {
    stop()
  }
}

/** ioredis with its option `readOnly` would ignore the answer. */
async function enterReadOnly(client: RedisClient): Promise<void> {
  try {
    await client.call('READONLY')
  } catch (error) {
    const why = `a replica answers reads only after READONLY, which was refused (${messageOf(error)})`
    throw failed(client, why, error)
  }
}

/** The default role, derived from the ioredis options. `readOnly` is meant for replicas, but works on a primary. */
function wantedRole(client: RedisClient, context: RedisPoolContext): WantedRole {
  const { sentinels, role, readOnly } = client.options as Record<string, unknown>
  return context.role ?? (sentinels && role === 'slave' ? 'replica' : readOnly ? 'any' : 'primary')
}

function sentinelsOf(client: RedisClient): SentinelTarget | undefined {
  const { sentinels, name, role, updateSentinels } = client.options as Record<string, unknown>
  const connector = connectorOf(client)
  if (!Array.isArray(sentinels) || connector?.connectToSentinel === undefined) return undefined
  return {
    name: String(name),
    toPrimary: role !== 'slave',
    endpoints: sentinels.filter(isRecord),
    learns: updateSentinels !== false,
    dial: endpoint => sentinelClient(client, endpoint, { lazyConnect: true }),
    translate: address =>
      Object.getPrototypeOf(connector).sentinelNatResolve.call(connector, address) as Address,
  }
}

/**
 * Closes the connection at once, without a QUIT, which a dead server would never answer. Commands that wait for an
 * answer, such as a BLPOP, are rejected.
 */
async function endClient(client: RedisClient): Promise<void> {
  if (client.status === 'end') return
  const stream = streamOf(client)
  const ended = new Promise<void>(resolve => {
    client.once('end', () => resolve())
    // ioredis does not notice the end of a socket whose listeners a borrower has removed.
    stream?.once('close', () => resolve())
  })
  destroyClient(client)
  await ended
  // In that case ioredis does not reject the waiting commands either.
  if (client.status !== 'end') destroyWithError(client, closedError())
}

/** @returns the name of the oldest command without an answer, or false */
function busyWith(client: RedisClient): boolean | string {
  if (!isBusy(client)) return false
  const { command } = (client.commandQueue.peekAt(0) ?? {}) as { command?: Command }
  // The name only: the arguments may be confidential.
  return command === undefined || String(command.name).toUpperCase().slice(0, 40)
}

/** Is the connection open and clean, as far as is known here? */
function isSound(client: RedisClient): boolean {
  const stream = streamOf(client)
  if (client.status !== 'ready' || stream === undefined || !isHealthy(stream)) return false
  // With RESP3 a PING is answered even while subscribed, so the answer would prove nothing.
  return !client.condition?.subscriber && !isBusy(client)
}

/** Is the connection clean, and does the server answer a PING on it? */
async function isAlive(client: RedisClient, signal: AbortSignal, isTerse: boolean): Promise<boolean> {
  if (!isSound(client) || signal.aborted) return false
  return (await unlessAborted(signal, isTerse ? answers(client) : answersPing(client))) === true
}

async function answersPing(client: RedisClient): Promise<boolean> {
  try {
    // Inside a MULTI that a borrower left open, the reply is QUEUED.
    return (await client.ping()) === 'PONG'
  } catch (error) {
    return isUnsupported(error) || (isReplyError(error) && ALIVE.test(error.message))
  }
}

/**
 * Asks for `timeout` in the server's configuration. Managed services deny or rename CONFIG. The rejection then makes
 * the pool learn the limit from observed closes. (Without `handoffs`, this factory does not declare that the server may
 * send data unasked: ioredis only delivers push messages to channel subscribers, so data on an idle connection was left
 * by its last borrower.)
 *
 * @returns milliseconds; 0 for no limit; undefined if the answer cannot be read
 */
async function askIdleTimeout(client: RedisClient): Promise<number | undefined> {
  const reply = await client.call('CONFIG', 'GET', 'timeout')
  // The reply is a flat array of pairs, or with RESP3 a map or an object.
  const seconds = Array.isArray(reply)
    ? reply[reply.findIndex(entry => String(entry) === 'timeout') + 1]
    : reply instanceof Map
      ? reply.get('timeout')
      : (reply as { timeout?: unknown } | null)?.timeout
  const millis = Number(seconds ?? Number.NaN) * 1000
  return Number.isFinite(millis) ? millis : undefined
}
