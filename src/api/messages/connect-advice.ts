import { isError, PoolError } from '../errors.ts'

/** What to check first when no connection can be made, by the code of the system's error. */
const ADVICE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'Nothing listens there: check that the server is up, and the host and port',
  ENOENT: 'There is no such socket: check that the server is up, and the path',
  ENOTFOUND: 'The host name is not known: check it, and the DNS',
  EAI_AGAIN: 'The host name could not be resolved: check the DNS',
  EHOSTUNREACH: 'The host cannot be reached: check the address, the network and the firewalls',
  ENETUNREACH: 'The network of the host cannot be reached: check the address, the network and the firewalls',
  ETIMEDOUT: 'The host did not answer: check that it is up, the network and the firewalls',
  ECONNRESET:
    'The server, or something on the way to it, accepted the connection and closed it: see its log, and its limits',
  EMFILE: 'This process has too many open files: raise its limit, or look for a leak',
  EPROTO:
    'The TLS handshake failed: check that the server speaks TLS at this port, and that the versions and certificates fit',
  ERR_SSL_WRONG_VERSION_NUMBER:
    'The server does not seem to speak TLS at this port: check the port, or leave TLS out',
  EADDRNOTAVAIL:
    'This machine has no free local port: look for connections that are made and closed again and again',
}

/** Node's words if the server closes the connection during the TLS handshake. The code is ECONNRESET. */
const BEFORE_SECURE = 'before secure TLS connection was established'

/** What to check first, as far as the error shows it. Does not claim more than has been observed. */
export function adviceFor(cause: unknown): string {
  try {
    return adviceOf(cause)
  } catch {
    return 'The cause cannot be shown: see the log of the server'
  }
}

function adviceOf(cause: unknown): string {
  for (let error = cause, depth = 0; isError(error) && depth < 5; error = error.cause, depth += 1) {
    const { code } = error as { code?: unknown }
    if (error.message.includes(BEFORE_SECURE)) return ADVICE.ERR_SSL_WRONG_VERSION_NUMBER as string
    const advice = typeof code === 'string' && Object.hasOwn(ADVICE, code) ? ADVICE[code] : undefined
    if (advice !== undefined) return advice
  }
  // An error of the pool says itself what to do.
  if (cause instanceof PoolError) return 'See the cause'
  return cause === undefined
    ? 'Check that the server is up and reachable'
    : 'See the cause, and the log of the server'
}
