import { once } from 'node:events'
import { createServer } from 'node:net'

/* The server of half-close.ts, in a process of its own: it takes every connection and says nothing. */

const server = createServer(socket => void socket.on('error', () => {}).resume())
server.listen({ port: 0, host: '127.0.0.1', backlog: 511 })
await once(server, 'listening')
process.send?.((server.address() as { port: number }).port)
process.on('disconnect', () => process.exit())
