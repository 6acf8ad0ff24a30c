import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import amqp from 'amqplib'
import { createChannelPool } from '../amqp.ts'
import { reasonsOf, until } from './dangers.ts'
import { find, startRabbit } from './servers.ts'

const missing = find('rabbitmq-server') ? false : 'there is no RabbitMQ on this machine'

describe('AMQP channels', { skip: missing }, async () => {
  if (missing) return
  const server = await startRabbit()
  after(() => server.stop())
  const url = `amqp://guest:guest@127.0.0.1:${server.port}`

  test('what is published has arrived before the channel is lent on', async () => {
    const pool = createChannelPool(url, { max: 1 })
    await pool.use(channel => channel.assertQueue('jobs'))
    await pool.use(channel => void channel.sendToQueue('jobs', Buffer.from('one')))
    const { messageCount } = await pool.use(channel => channel.checkQueue('jobs'))
    assert.equal(messageCount, 1)
    assert.equal(pool.stats().totals.created, 1)
    await pool.close()
    await pool.disconnect()
  })

  test('a channel that the broker closes after a mistake is not lent again, and does not end the process', async () => {
    const pool = createChannelPool(url, { max: 1 })
    const reasons = reasonsOf(pool)
    await assert.rejects(
      pool.use(channel => channel.checkQueue('no-such-queue')),
      /NOT_FOUND/,
    )
    await pool.use(channel => channel.assertQueue('jobs'))
    assert.equal(reasons.length, 1)
    await pool.close()
    await pool.disconnect()
  })

  test('all channels end with their connection, and the next are made on a new one', async () => {
    const pool = createChannelPool(url, { max: 3 })
    await Promise.all([1, 2, 3].map(() => pool.use(channel => channel.assertQueue('jobs'))))
    await pool.disconnect()
    await until('the pool can be used again', () =>
      pool
        .use(channel => channel.assertQueue('jobs'))
        .then(
          () => true,
          () => false,
        ),
    )
    await pool.close()
    await pool.disconnect()
  })

  test('a broker that is not there is waited for, and no error is unhandled', async () => {
    const pool = createChannelPool('amqp://127.0.0.1:1', { max: 1, acquireTimeoutMillis: 300 })
    await assert.rejects(pool.acquire(), { code: 'POOL_ACQUIRE_TIMEOUT' })
    await pool.close()
  })

  test('the recipe tells nothing of its own: amqplib alone sees the same queue', async () => {
    const connection = await amqp.connect(url)
    const channel = await connection.createChannel()
    assert.equal((await channel.checkQueue('jobs')).queue, 'jobs')
    await connection.close()
  })
})
