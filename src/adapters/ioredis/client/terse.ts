import { isPoolError } from '../../../api/errors.ts'
import { destroyClient } from './client.ts'
import type { RedisClient } from './client-types.ts'

/**
 * Whether clients of a pool send only AUTH and SELECT on their own. Some proxies (twemproxy) do not reply to a command
 * that they do not have, but close the connection. So if a server closes the connection during the handshake without a
 * reason, a terse client is tried and sends a command that every server has. If that is answered, and the server closes
 * an ordinary connection again, all clients of the pool become terse: they send no INFO, HELLO, CONFIG or PING any more.
 */
export interface Terseness {
  isTerse: boolean
  /** Has it answered an ordinary handshake before? Then it is no such proxy, and may close connections for other reasons. */
  isOrdinary: boolean
}

/** Has the server closed the connection during the handshake without giving a reason? */
function isHangUp(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  if (isPoolError(error))
    return (
      error.message.includes('the connection was closed after') && !error.message.includes('the server said')
    )
  return code === 'ECONNRESET' || code === 'EPIPE'
}

/** A key that nobody uses. */
const NO_KEY = 'lifeguard-pool:nobody-has-this'

/**
 * Sends a command that every server and every proxy has.
 * @returns whether there was an answer
 */
export async function answers(client: RedisClient): Promise<boolean> {
  try {
    return typeof (await client.call('EXISTS', NO_KEY)) === 'number'
  } catch {
    return false
  }
}

/** Opens a client. If the server closes the connection, tries again with a terse client. */
export async function openTersely<R extends RedisClient>(
  terseness: Terseness,
  open: (isTerse: boolean) => Promise<R>,
): Promise<R> {
  if (terseness.isTerse) return open(true)
  try {
    const client = await open(false)
    terseness.isOrdinary = true
    return client
  } catch (error) {
    if (terseness.isOrdinary || !isHangUp(error)) throw error
    const client = await open(true).catch(() => undefined)
    if (client === undefined) throw error
    if (!(await answers(client))) {
      destroyClient(client)
      throw error
    }
    // Every server may close a connection once, as it stops or restarts.
    let ordinary: R
    try {
      ordinary = await open(false)
    } catch (again) {
      // Another client may have been answered meanwhile.
      if (isHangUp(again) && !terseness.isOrdinary) {
        terseness.isTerse = true
        return client
      }
      destroyClient(client)
      throw again
    }
    destroyClient(client)
    terseness.isOrdinary = true
    return ordinary
  }
}
