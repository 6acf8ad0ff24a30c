/*
 * What report() says in each of the five incidents, at the moment in which somebody asks: played small.
 *
 *     node .build/examples/incidents/reports.js            prints them
 *     node .build/examples/incidents/reports.js --write    puts them into docs/diagnostics.md
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { createPool } from '../../src/index.ts'
import { makePipe } from '../../test/support/pipe.ts'

const root = join(import.meta.dirname, '../../..')
const service = join(import.meta.dirname, 'I1-stuck.js')

async function listen(onSocket: (socket: Socket) => void): Promise<Server & { readonly port: number }> {
  const server = createServer(socket => onSocket(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return Object.assign(server, { port })
}

/** I0: the server hangs up on what has been idle for 200 ms. */
async function serverHangsUp(): Promise<string> {
  const server = await listen(socket => socket.setTimeout(200, () => socket.end()).pipe(socket))
  const pool = createSocketPool({ host: '127.0.0.1', port: server.port }, { name: 'cache', max: 4 })
  const sockets = await Promise.all([1, 2, 3].map(() => pool.acquire()))
  for (const socket of sockets) {
    socket.write('ping')
    await once(socket, 'data')
    await pool.release(socket)
  }
  await pause(400)
  const report = pool.report()
  await pool.close()
  server.close()
  return report
}

/** I1: every worker is stuck in its logger, with a connection in its hands; stderr is a pipe that nobody reads. */
async function logPipe(): Promise<string> {
  const pipe = makePipe()
  try {
    const { stdout } = await promisify(execFile)(
      'sh',
      ['-c', 'exec "$0" "$1" 2>"$2"', process.execPath, service, `/proc/${process.pid}/fd/${pipe.fd}`],
      { env: { ...process.env, DEBUG: 'lifeguard-pool:*' } },
    )
    return stdout.trimEnd()
  } finally {
    pipe.close()
  }
}

/** I2: a synchronous call to a slow third party. */
async function blockedLoop(): Promise<string> {
  const server = await listen(socket => socket.pipe(socket))
  const pool = createSocketPool(
    { host: '127.0.0.1', port: server.port },
    { name: 'backend', max: 2, acquireTimeoutMillis: 300 },
  )
  const requests = Array.from({ length: 6 }, () =>
    pool.use(socket => {
      socket.write('ping')
      return once(socket, 'data')
    }),
  )
  for (let call = 0; call < 3; call += 1) {
    await pause(30)
    const end = performance.now() + 900
    while (performance.now() < end);
  }
  const waiting = pool.use(() => pause(50))
  const report = pool.report()
  await Promise.allSettled([...requests, waiting])
  await pool.close()
  server.close()
  return report
}

/** I3: whoever has a connection asks for a second one. */
async function nested(): Promise<string> {
  const pool = createPool(
    { create: async () => ({}), destroy: async () => {}, busy: () => false },
    { name: 'redis', max: 2, captureStacks: 'all', deadlockGraceMillis: 1000 },
  )
  const getFoo = (): Promise<void> => pool.use(() => {})
  const getBar = (): Promise<void> =>
    pool.use(async () => {
      await pause(10)
      await getFoo()
    })
  const requests = [1, 2, 3].map(() => getBar())
  await pause(300)
  const report = pool.report()
  await Promise.allSettled(requests)
  await pool.close()
  return report
}

/** I4: the socket exists, and what comes after that throws. */
async function neverRegistered(): Promise<string> {
  const server = await listen(() => {})
  const pool = createPool<Socket>(
    {
      create: async () => {
        const { connect } = await import('node:net')
        const socket = connect(server.port, '127.0.0.1')
        try {
          await once(socket, 'connect')
          throw new Error('out of memory while registering the connection')
        } catch (error) {
          socket.destroy()
          throw error
        }
      },
      destroy: socket => void socket.destroy(),
      socket: socket => socket,
    },
    { name: 'providers', max: 4, acquireTimeoutMillis: 2000 },
  )
  const waiting = [1, 2, 3].map(() => pool.acquire())
  await pause(400)
  const report = pool.report()
  const closing = pool.close({ timeoutMillis: 100 })
  await Promise.allSettled([...waiting, closing])
  server.close()
  return report
}

const PLAYS = { I0: serverHangsUp, I1: logPipe, I2: blockedLoop, I3: nested, I4: neverRegistered }

const write = process.argv.includes('--write')
const path = join(root, 'docs', 'diagnostics.md')
let text = write ? readFileSync(path, 'utf8') : ''
const here = pathToFileURL(dirname(import.meta.dirname)).href
for (const [name, play] of Object.entries(PLAYS)) {
  const report = (await play()).replaceAll(`${here}/`, '')
  process.stdout.write(`${name}\n${report}\n\n`)
  const block = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`)
  text = text.replace(
    block,
    (_, start: string, end: string) => `${start}\n\`\`\`\n${report}\n\`\`\`\n\n${end}`,
  )
}
if (write) writeFileSync(path, text)
