import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createPool } from 'lifeguard-pool'

/*
 * A function that is frozen between two calls: `node thaw-child.js PORT`. On each message it asks the server something on
 * every connection, and says how many answers there were.
 */

const COUNT = 8

const pool = createPool<Socket>(
  {
    async create(signal) {
      const socket = connect(Number(process.argv[2]), '127.0.0.1')
      socket.on('error', () => {})
      await once(socket, 'connect', { signal })
      return socket
    },
    destroy: socket => void socket.destroy(),
    socket: socket => socket,
  },
  { max: COUNT, fifo: false },
)

const ask = (socket: Socket): Promise<boolean> =>
  new Promise(resolve => {
    socket.once('data', () => resolve(true)).once('close', () => resolve(false))
    socket.write('?')
  })

process.on('message', async () => {
  const answers = await Promise.all(Array.from({ length: COUNT }, () => pool.use(ask).catch(() => false)))
  process.send?.(answers.filter(Boolean).length)
})
