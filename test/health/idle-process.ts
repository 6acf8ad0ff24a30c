import { once } from 'node:events'
import { connect } from 'node:net'
import { createPool } from '../../src/index.ts'

/*
 * A process with a pool whose two hundred peers all close their side, one half of them before data that nobody reads.
 * Its connections stay lent, so that they are not simply gone. Tells its CPU time over a second of idling, in percent.
 */

const [port, count] = process.argv.slice(2).map(Number) as [number, number]
const pool = createPool(
  {
    async create() {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      socket.on('error', () => {})
      await once(socket, 'connect')
      return { socket }
    },
    destroy: ({ socket }) => void socket.destroy(),
    socket: ({ socket }) => socket,
  },
  { max: 2 * count, halfCloseGraceMillis: 60_000 },
)
const lent = await Promise.all(Array.from({ length: count }, () => pool.acquire()))
const idle = await Promise.all(Array.from({ length: count }, () => pool.acquire()))
for (const one of idle) await pool.release(one)
process.send?.('ready')
await once(process, 'message')
for (let second = 0; second < 4; second += 1) {
  const before = process.cpuUsage()
  const start = performance.now()
  await new Promise(resolve => setTimeout(resolve, 1500))
  const { user, system } = process.cpuUsage(before)
  const percent = (user + system) / 10 / (performance.now() - start)
  process.send?.({ percent, size: pool.size, lent: lent.length })
}
process.disconnect?.()
process.exit()
