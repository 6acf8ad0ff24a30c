import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** Where a Redis server listens. */
export type RedisAddress = { host: string; port: number; tls: boolean } | { path: string }

/** The address in a `redis://` or `rediss://` URL, or in the absolute path of a Unix socket. */
export function addressOf(url: string): RedisAddress {
  if (url.startsWith('/')) return { path: url }
  const { protocol, hostname, port } = new URL(url)
  if (protocol !== 'redis:' && protocol !== 'rediss:') {
    throw new TypeError('the URL of a Redis server starts with redis:// or rediss://')
  }
  // URL keeps the brackets of an IPv6 address; connect() does not know them.
  const host = hostname.replace(/^\[(.*)\]$/, '$1') || '127.0.0.1'
  return { host, port: Number(port || 6379), tls: protocol === 'rediss:' }
}

function open(address: RedisAddress): Socket {
  if ('path' in address) return connectTcp({ path: address.path })
  const { host, port, tls } = address
  // Only liveness is asked here, and the certificate of a test server is self-signed.
  return tls ? connectTls({ host, port, rejectUnauthorized: false }) : connectTcp({ host, port })
}

/**
 * Sends one PING on a socket of its own. Resolves with the first line of the answer, an error such as NOAUTH
 * included, for that, too, is a living server; rejects when there is no answer within `timeoutMillis`.
 */
export function ping(address: RedisAddress, timeoutMillis = 2000): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = open(address)
    const timer = setTimeout(() => socket.destroy(new Error('no answer to PING')), timeoutMillis)
    let answer = ''
    socket.write('*1\r\n$4\r\nPING\r\n')
    socket.on('data', chunk => {
      answer += chunk.toString('latin1')
      const end = answer.indexOf('\r\n')
      if (end < 0) return
      resolve(answer.slice(0, end))
      socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => {
      clearTimeout(timer)
      // Without effect after an answer or an error.
      reject(new Error('closed before the answer to PING'))
    })
  })
}
