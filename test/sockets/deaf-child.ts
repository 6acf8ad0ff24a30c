import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { createPool, type Pool } from '../../src/index.ts'
import { eventually, turns } from '../support/factories.ts'
import { startFaultServer } from '../support/fault-server.ts'
import { tlsCertificate } from '../support/tls.ts'

/**
 * A borrower removes all listeners of the socket; the server resets it then, or when it is idle, or when the next one
 * has it. Nothing of that may end the process. (In a test, the runner would catch it.)
 */
const kind = process.argv[2]
const server = await startFaultServer({ mode: 'echo', ...(kind === 'TLS' ? { tls: {} } : {}) })
const where = { port: server.port, host: '127.0.0.1' }
const create = async (): Promise<{ socket: Socket }> => {
  const socket = connect(where)
  await once(socket, 'connect')
  return { socket }
}
const pool = (kind === 'of a client'
  ? createPool({
      create,
      destroy: ({ socket }: { socket: Socket }) => void socket.destroy(),
      socket: ({ socket }: { socket: Socket }) => socket,
    })
  : kind === 'of its own factory'
    ? createPool({
        create: async () => (await create()).socket,
        destroy: (socket: Socket) => void socket.destroy(),
        socket: (socket: Socket) => socket,
      })
    : createSocketPool(
        kind === 'TLS' ? { ...where, tls: { ca: tlsCertificate, servername: 'localhost' } } : where,
      )) as unknown as Pool<unknown>
const socketOf = (lent: unknown): Socket => (lent as { socket?: Socket }).socket ?? (lent as Socket)

for (const phase of ['lent', 'idle', 'lent to the next']) {
  let lent = await pool.acquire()
  // A TLS handshake is over for the server only when its client has turned.
  await turns(3)
  const socket = socketOf(lent)
  socket.removeAllListeners()
  const index = server.indexOf(socket.localPort as number)
  if (phase === 'lent') {
    server.rst(index)
    socket.resume()
    await eventually(() => socket.destroyed)
  }
  await pool.release(lent)
  await turns(3)
  if (phase === 'idle' && !socket.destroyed) server.rst(index)
  await turns(5)
  if (phase !== 'lent to the next') continue
  lent = await pool.acquire()
  if (socketOf(lent) === socket) server.rst(index)
  socket.resume()
  await turns(5)
  await pool.release(lent)
}
const lent = await pool.acquire()
const socket = socketOf(lent)
socket.destroy(new Error('its borrower has had enough'))
socket.removeAllListeners()
await turns(3)
await pool.release(lent)
await pool.close()
process.stdout.write('lives\n')
process.exit(0)
