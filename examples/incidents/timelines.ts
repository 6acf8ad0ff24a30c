/*
 * Pictures of what connections do, for the documents: each a real run, recorded by `recordTimeline`.
 *
 *     npm run pictures      writes docs/pictures/timeline-*.svg
 */
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { timelineSvg } from '../../src/cli/timeline/svg.ts'
import { recordTimeline, type Timeline } from '../../src/diagnostics/index.ts'
import { createPool } from '../../src/index.ts'

const folder = join(import.meta.dirname, '../../../docs/pictures')

interface Listening {
  readonly server: Server
  readonly sockets: Set<Socket>
  readonly port: number
}

/** A server that sends back what it gets. */
async function echo(port = 0, onSocket: (socket: Socket) => void = () => {}): Promise<Listening> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)))
    socket.on('data', data => setTimeout(() => socket.writable && socket.write(data), 25))
    onSocket(socket)
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return { server, sockets, port: (server.address() as { port: number }).port }
}

async function asks(socket: Socket): Promise<void> {
  socket.write('ping')
  await once(socket, 'data')
}

/** The server hangs up on what is idle, and once on what is lent. */
async function halfClose(): Promise<Timeline> {
  const { server, sockets, port } = await echo(0, socket => {
    socket.setTimeout(350, () => socket.end())
  })
  const pool = createSocketPool(
    { host: '127.0.0.1', port },
    { name: 'backend', max: 4, halfCloseGraceMillis: 600, serverIdleTimeoutMillis: 'none' },
  )
  const recording = recordTimeline({ pool: 'backend' })
  async function fetchPrices(): Promise<void> {
    await pool.use(asks)
  }
  /** It reads, but asks nothing for so long that the server hangs up; its socket is reset after the grace period. */
  async function longReport(): Promise<void> {
    await pool
      .use(socket => {
        socket.resume()
        return pause(2400)
      })
      .catch(() => {})
  }
  const reporting = longReport()
  await Promise.all([fetchPrices(), fetchPrices(), fetchPrices()])
  await pause(120)
  await fetchPrices()
  await pause(900)
  await Promise.all([fetchPrices(), fetchPrices()])
  await pause(150)
  await fetchPrices()
  await reporting
  await fetchPrices()
  await pause(60)
  const timeline = recording.stop()
  await pool.close()
  for (const socket of sockets) socket.destroy()
  server.close()
  return timeline
}

/** Four tasks hold a connection each, and ask for a second one. */
async function knot(): Promise<Timeline> {
  const pool = createPool(
    { create: () => pause(8, {}), destroy: () => {} },
    { name: 'orders', max: 4, captureStacks: 'all' },
  )
  const recording = recordTimeline({ pool: 'orders' })
  async function loadItems(): Promise<void> {
    await pool.use(() => pause(20))
  }
  async function loadOrder(): Promise<void> {
    await pool.use(async () => {
      await pause(15)
      await loadItems()
    })
  }
  const orders = Array.from({ length: 4 }, () => loadOrder().catch(() => {}))
  await pause(40)
  orders.push(loadOrder().catch(() => {}))
  await Promise.all(orders)
  await pause(10)
  const timeline = recording.stop()
  await pool.close()
  return timeline
}

/** The server goes away for two seconds, and comes back. */
async function outage(): Promise<Timeline> {
  let { server, sockets, port } = await echo()
  const pool = createSocketPool(
    { host: '127.0.0.1', port },
    { name: 'backend', max: 4, acquireTimeoutMillis: 2000, unhealthyAfterMillis: 1000 },
  )
  await Promise.all([1, 2, 3].map(() => pool.use(asks)))
  const recording = recordTimeline({ pool: 'backend' })
  async function handleRequest(): Promise<void> {
    await pool.use(asks).catch(() => {})
  }
  const requests: Promise<void>[] = []
  const traffic = setInterval(() => requests.push(handleRequest()), 130)
  await pause(500)
  server.close()
  for (const socket of sockets) socket.destroy()
  await pause(2000)
  ;({ server, sockets } = await echo(port))
  await pause(800)
  clearInterval(traffic)
  await Promise.all(requests)
  const timeline = recording.stop()
  await pool.close()
  for (const socket of sockets) socket.destroy()
  server.close()
  return timeline
}

const PICTURES: Record<string, [run: () => Promise<Timeline>, title: string]> = {
  'half-close': [
    halfClose,
    'A server that hangs up on connections that are idle for 350 ms, also on one that is lent',
  ],
  knot: [
    knot,
    'Four tasks hold a connection each and ask for a second one: the deadlock is proved and broken',
  ],
  outage: [outage, 'The server is away from 0.5 s to 2.5 s; one request every 130 ms'],
}

mkdirSync(folder, { recursive: true })
for (const [name, [run, title]] of Object.entries(PICTURES)) {
  const file = join(folder, `timeline-${name}.svg`)
  writeFileSync(file, timelineSvg(await run(), title))
  process.stdout.write(`${file}\n`)
}
