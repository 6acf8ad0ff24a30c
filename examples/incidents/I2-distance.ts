import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { addressOf } from '../../test/support/ping.ts'
import { serve } from './support/serving.ts'

/*
 * A way to a Redis server that takes its time, as between two machines; in a process of its own, so that nothing but
 * the distance delays an answer. Arguments: the URL of the server, and milliseconds for one way.
 *
 * Over TLS, whose certificate names the server itself, and over a Unix socket, the server stays where it is.
 */

const [, , redisUrl = '', oneWayMillis = '3'] = process.argv

async function distant(): Promise<string> {
  const address = addressOf(redisUrl)
  if ('path' in address || address.tls) return redisUrl
  const relay = (from: Socket, to: Socket): void => {
    // Chunks keep their order: timers of one length fire in the order in which they were set.
    from.on('data', chunk => setTimeout(() => to.writable && to.write(chunk), Number(oneWayMillis)))
    from.on('error', () => {}).on('close', () => to.destroy())
    from.setNoDelay(true)
  }
  const server = createServer(near => {
    const far = connect(address.port, address.host)
    relay(near, far)
    relay(far, near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(redisUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return url.href
}

const url = distant()
serve({ url: () => url })
