import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { createPool } from '../../src/index.ts'
import { tlsCertificate } from '../support/tls.ts'

/** A script: its first borrower does not want to hold the process, the second awaits an answer and nothing else. */
const [kind, port] = [process.argv[2], Number(process.argv[3])]
const tls = { ca: tlsCertificate, servername: 'localhost' }
const pool =
  kind === 'of a client'
    ? createPool<{ socket: Socket }>({
        async create() {
          const socket = connect(port, '127.0.0.1')
          await once(socket, 'connect')
          socket.on('data', () => {}).on('error', () => {})
          return { socket }
        },
        destroy: ({ socket }) => void socket.destroy(),
        socket: ({ socket }) => socket,
      })
    : createSocketPool({ port, host: '127.0.0.1', ...(kind === 'TLS' ? { tls } : {}) })
const socketOf = (lent: unknown): Socket => (lent as { socket?: Socket }).socket ?? (lent as Socket)
const lent = await (pool as ReturnType<typeof createPool<unknown>>).acquire()
socketOf(lent).unref()
await pool.release(lent as never)
await new Promise<void>(resolve => setImmediate(() => setImmediate(resolve)))
const again = socketOf(await pool.acquire())
again.write('question')
await once(again, 'data')
process.stdout.write('answered\n')
process.exit(0)
