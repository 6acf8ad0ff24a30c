import amqp from 'amqplib'
import { createPool, type Pool, type PoolOptions } from 'lifeguard-pool'

/** Channels that have been closed, by an error of the server or by the end of their connection. */
const ended = new WeakSet<amqp.ConfirmChannel>()

export type ChannelPool = Pool<amqp.ConfirmChannel> & { disconnect(): Promise<void> }

/** Channels in confirm mode, all on one connection, which is made again after its end. */
export function createChannelPool(url: string, options?: PoolOptions): ChannelPool {
  let connection: Promise<amqp.ChannelModel> | undefined
  const connected = (): Promise<amqp.ChannelModel> => {
    connection ??= dial()
    return connection
  }
  async function dial(): Promise<amqp.ChannelModel> {
    try {
      const made = await amqp.connect(url)
      made.on('error', () => {})
      made.once('close', () => {
        connection = undefined
      })
      return made
    } catch (error) {
      connection = undefined
      throw error
    }
  }
  const pool = createPool<amqp.ConfirmChannel>(
    {
      async create() {
        const channel = await (await connected()).createConfirmChannel()
        // The broker closes a channel on each mistake, a queue that does not exist for one.
        channel.on('error', () => {})
        channel.once('close', () => ended.add(channel))
        return channel
      },
      async destroy(channel) {
        if (!ended.has(channel)) await channel.close()
      },
      // Known without a round trip, so it may be asked on every loan and return.
      validate: channel => !ended.has(channel),
      // What has been published arrives before the channel is lent on, or the channel is closed.
      reset: channel => channel.waitForConfirms(),
    },
    { fifo: false, testOnBorrow: true, testOnReturn: true, ...options },
  )
  return Object.assign(pool, {
    /** Ends the connection; to be called after `close()`. */
    disconnect: async () => void (await (await connection)?.close()),
  })
}
