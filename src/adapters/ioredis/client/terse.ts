import { isPoolError } from '../../../api/errors.ts'
import { destroyClient } from './client.ts'
import type { RedisClient } from './client-types.ts'

/**
 * Whether clients of a pool send only AUTH and SELECT on their own. Some proxies (twemproxy) do not reply to a command
 * that they do not have, but close the connection. So if a server closes the connection during the handshake without a
 * reason, terse clients are tried and send a command that every server has. If all are answered, and the server closes
 * every ordinary connection after that as well, all clients of the pool become terse: they send no INFO, HELLO, CONFIG or
 * PING any more.
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

/**
 * So often each of the two is tried. A server may close a connection as it stops or restarts, and of several behind one address
 * one may be broken, which by turns is every other one: so the terse ones are tried in a row, and then the ordinary ones.
 */
const TRIES = 3

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

/** Opens a client. If the server closes the connection, tries again with terse clients. */
export async function openTersely<R extends RedisClient>(
  terseness: Terseness,
  open: (isTerse: boolean) => Promise<R>,
): Promise<R> {
  if (terseness.isTerse) return open(true)
  const ordinary = async (): Promise<R> => {
    const client = await open(false)
    terseness.isOrdinary = true
    return client
  }
  try {
    return await ordinary()
  } catch (error) {
    if (terseness.isOrdinary || !isHangUp(error)) throw error
    const client = await answering(open)
    if (client === undefined) throw error
    try {
      for (let tries = 1; tries < TRIES; tries += 1) {
        const found = await ordinary().catch((again: unknown) => {
          // Another client may have been answered meanwhile.
          if (terseness.isOrdinary || !isHangUp(again)) throw again
        })
        if (found === undefined) continue
        destroyClient(client)
        return found
      }
    } catch (again) {
      destroyClient(client)
      throw again
    }
    terseness.isTerse = true
    return client
  }
}

/** @returns the last of several terse clients, if all of them are answered */
async function answering<R extends RedisClient>(
  open: (isTerse: boolean) => Promise<R>,
): Promise<R | undefined> {
  for (let tries = 1; ; tries += 1) {
    const client = await open(true).catch(() => undefined)
    if (client === undefined) return undefined
    const isAnswered = await answers(client)
    if (isAnswered && tries === TRIES) return client
    destroyClient(client)
    if (!isAnswered) return undefined
  }
}
