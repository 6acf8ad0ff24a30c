import { isPoolError } from '../../../api/errors.ts'
import { destroyClient } from './client.ts'
import type { RedisClient } from './client-types.ts'

/**
 * Some proxies (twemproxy) do not reply to a command that they do not have, but hang up. So where a server hangs up at the
 * handshake without a word, a client is made that sends nothing but AUTH and SELECT by itself, and asked for something that
 * every server has. If that is answered, all clients of the pool are made like this: they are not asked for INFO, HELLO,
 * CONFIG or PING any more.
 */
export interface Terseness {
  isTerse: boolean
}

/** Has the server ended the connection during the handshake, without a word against it? */
export function isHangUp(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  if (isPoolError(error))
    return (
      error.message.includes('the connection was closed after') && !error.message.includes('the server said')
    )
  return code === 'ECONNRESET' || code === 'EPIPE'
}

/** A key that nobody has. */
const NO_KEY = 'lifeguard-pool:nobody-has-this'

/** Asks for something that every server, and every proxy before one, has. @returns whether there is an answer */
export async function answers(client: RedisClient): Promise<boolean> {
  try {
    return typeof (await client.call('EXISTS', NO_KEY)) === 'number'
  } catch {
    return false
  }
}

/** Opens a client, again with fewer words if the server hangs up. */
export async function openTersely<R extends RedisClient>(
  terseness: Terseness,
  open: (isTerse: boolean) => Promise<R>,
): Promise<R> {
  if (terseness.isTerse) return open(true)
  try {
    return await open(false)
  } catch (error) {
    if (!isHangUp(error)) throw error
    const client = await open(true).catch(() => undefined)
    if (client === undefined) throw error
    if (!(await answers(client))) {
      destroyClient(client)
      throw error
    }
    terseness.isTerse = true
    return client
  }
}
