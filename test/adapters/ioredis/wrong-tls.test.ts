import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { after, describe, test } from 'node:test'
import { createRedisClusterPool, createRedisPool } from '../../../src/adapters/ioredis/index.ts'
import { createSocketPool } from '../../../src/adapters/net/index.ts'
import { isError } from '../../../src/api/errors.ts'
import { isPoolError } from '../../../src/index.ts'
import { ensureRedisBinary, startRedis } from '../../support/redis-server.ts'
import { rejection } from '../../support/rejection.ts'
import { tlsCertificate, tlsKey } from '../../support/tls.ts'

const binary = await ensureRedisBinary()
const skip = 'missing' in binary ? binary.missing : false

/** A server that does this with each connection. Returns its address. */
async function serverThat(handle: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket.on('error', () => {}))
    handle(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

const silent = await serverThat(() => {})
/** Not before: the client may otherwise learn of the end before it has begun with TLS. */
const closing = await serverThat(socket => socket.once('data', () => socket.destroy()))
/** Answers whatever comes as a Redis without TLS does that does not know the command. */
const plain = await serverThat(socket => socket.on('data', () => socket.write('-ERR unknown command\r\n')))
/** Answers as a TLS server does that gets something else: with an alert. */
const alerting = await serverThat(socket =>
  socket.on('data', () => socket.end(Buffer.from([0x15, 0x03, 0x01, 0, 2, 2, 70]))),
)

/** Time for several connects, also on a busy machine: an acquire tells of the last one that has failed. */
const LIMITS = { acquireTimeoutMillis: 2500, createTimeoutMillis: 400 }

/** The message and those of its causes: on a busy machine a connect may be in progress, and the last one is the cause. */
function told(error: unknown): string {
  const messages: string[] = []
  for (let each = error; isError(each); each = each.cause) messages.push(each.message)
  return messages.join('\n')
}

/** What an acquire says, of a pool of one server and of one of a cluster. */
async function said(url: string): Promise<[single: string, cluster: string]> {
  await using single = createRedisPool(url, LIMITS)
  await using cluster = createRedisClusterPool(url, LIMITS)
  const ends = await Promise.allSettled([single.use(() => {}), cluster.use({ key: 'a' }, () => {})])
  return ends.map(end => {
    assert.ok(end.status === 'rejected' && isPoolError(end.reason))
    return told(end.reason)
  }) as [string, string]
}

describe('TLS on one side only is told as far as it is shown, by a pool of one server and of a cluster', () => {
  test('a server without TLS that answers the TLS handshake', async () => {
    for (const message of await said(`rediss://${plain}`))
      assert.match(
        message,
        /The server does not seem to speak TLS at this port: check the port, or leave TLS out/,
      )
  })

  test('a server that closes the connection during the TLS handshake', async () => {
    for (const message of await said(`rediss://${closing}`))
      assert.match(message, /The server does not seem to speak TLS at this port/)
  })

  test('a server that is silent: the time passed during the TLS handshake', async () => {
    for (const message of await said(`rediss://${silent}`))
      assert.match(message, /given up after TCP was connected, during the TLS handshake/)
  })

  test('a real Redis without TLS, which is silent as well', { skip }, async () => {
    const server = await startRedis()
    try {
      for (const message of await said(`rediss://127.0.0.1:${server.port}`))
        assert.match(message, /during the TLS handshake|does not seem to speak TLS/)
    } finally {
      await server.stop()
    }
  })

  test('a real Redis with TLS, without TLS here: it closes the connection', { skip }, async () => {
    const server = await startRedis({}, { tls: { key: tlsKey, cert: tlsCertificate } })
    try {
      for (const message of await said(`redis://127.0.0.1:${server.port}`))
        assert.match(message, /If it expects TLS, use rediss:\/\/ or the option tls/)
    } finally {
      await server.stop()
    }
  })

  test('a server that sends a TLS alert', async () => {
    for (const message of await said(`redis://${alerting}`))
      assert.match(message, /the server sent a TLS alert, so it expects TLS at this port: use rediss:\/\//)
  })

  test('silence without TLS says nothing about TLS, but how far connecting got', async () => {
    const [single, cluster] = await said(`redis://${silent}`)
    for (const message of [single, cluster])
      assert.match(message, /given up after TCP was connected, with no reply to the handshake/)
    assert.doesNotMatch(cluster, /(?:during|speak|expects|use) (?:the )?TLS/)
  })

  test('a pool of sockets says how far connecting had got, too', async () => {
    const [host, port] = silent.split(':') as [string, string]
    await using pool = createSocketPool({ host, port: Number(port), tls: true }, LIMITS)
    assert.match(
      told(await rejection(pool.acquire())),
      /given up after TCP was connected, during the TLS handshake/,
    )
  })

  test('a certificate that is not accepted fails the acquires of both at once, with what to check', {
    skip,
  }, async () => {
    const server = await startRedis({}, { tls: { key: tlsKey, cert: tlsCertificate } })
    try {
      await using cluster = createRedisClusterPool(`rediss://localhost:${server.port}`, {
        acquireTimeoutMillis: false,
      })
      await assert.rejects(
        cluster.use({ key: 'a' }, () => {}),
        /The server's certificate is not accepted: check/,
      )
    } finally {
      await server.stop()
    }
  })
})
