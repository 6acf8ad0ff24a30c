/*
 * Processes that are well. Argument: which one. Each says a word on stdout when it is at work. They load only what they
 * use, as most use no pool.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Agent, createServer as createHttpServer, get } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { Redis } from 'ioredis'

const [, , which = '', url = ''] = process.argv
const ready = (): boolean => process.stdout.write('ready\n')
const openPool = async (max: number, min = 0) =>
  (await import('../../src/adapters/ioredis/index.ts')).createRedisPool(url, { max, min })
const hold = (): NodeJS.Timeout => setInterval(() => {}, 60_000)

/** Work for a processor: some milliseconds. */
function compute(rounds = 2000): string {
  let hash = ''
  for (let round = 0; round < rounds; round += 1) hash = createHash('sha256').update(hash).digest('hex')
  return hash
}

async function listen(server: ReturnType<typeof createServer>): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function serveHttp(work: () => unknown): Promise<number> {
  const server = createHttpServer((_request, response) => response.end(String(work())))
  return listen(server)
}

/** Asks for ever, so many at a time, on connections that are kept or made anew. */
function load(port: number, lines: number, keepAlive: boolean): void {
  const agent = new Agent({ keepAlive, maxSockets: lines })
  const ask = (): void => {
    get({ host: '127.0.0.1', port, agent }, response => response.resume().on('end', ask)).on('error', ask)
  }
  for (let line = 0; line < lines; line += 1) ask()
}

async function sockets(count: number, port: number): Promise<Socket[]> {
  const all = Array.from({ length: count }, () => connect(port, '127.0.0.1'))
  await Promise.all(all.map(socket => once(socket, 'connect')))
  return all
}

const KINDS: Readonly<Record<string, () => Promise<unknown>>> = {
  /** Has nothing to do. */
  idle: async () => hold(),
  /** Two hundred connections to itself, which nobody uses. */
  'many connections': async () => sockets(200, await listen(createServer())),
  /** Computes, and has nothing else to do. */
  async computing() {
    hold()
    ready()
    for (;;) compute()
  },
  /** Computes all the time, but in turns; a server beside it answers. */
  async 'busy server'() {
    load(await serveHttp(() => compute(300)), 20, true)
  },
  /** New connections all the time. */
  async 'short connections'() {
    load(await serveHttp(() => 'ok'), 5, false)
  },
  /** Keep-alive connections with a request now and then. */
  async 'keep-alive server'() {
    const port = await serveHttp(() => 'ok')
    const agent = new Agent({ keepAlive: true, maxSockets: 50 })
    const ask = () => get({ host: '127.0.0.1', port, agent }, response => response.resume())
    for (let socket = 0; socket < 50; socket += 1) ask()
    setInterval(ask, 50)
  },
  /** Clients that send a request and half-close at once; a server that answers and closes. */
  async 'half-closing clients'() {
    const port = await listen(
      createServer(socket =>
        socket
          .on('error', () => {})
          .resume()
          .end('bye'),
      ),
    )
    setInterval(
      () =>
        connect(port, '127.0.0.1')
          .on('error', () => {})
          .resume()
          .end('hello'),
      20,
    )
  },
  /** A socket that is not read just now, by intention. */
  async 'paused socket'() {
    const port = await listen(createServer(socket => socket.write(Buffer.alloc(100_000))))
    const [socket] = await sockets(1, port)
    socket?.pause()
    hold()
  },
  /** All loans come back. */
  async 'pool at work'() {
    const pool = await openPool(8)
    const work = async (): Promise<never> => {
      for (;;) await pool.use(client => client.incr('healthy'))
    }
    for (let line = 0; line < 16; line += 1) work()
    await pool.use(client => client.ping())
  },
  async 'generic-pool at work'() {
    const { default: genericPool } = await import('generic-pool')
    const { Redis: Client } = await import('ioredis')
    const pool = genericPool.createPool(
      { create: async () => new Client(url), destroy: async (client: Redis) => client.disconnect() },
      { max: 8 },
    )
    const work = async (): Promise<never> => {
      for (;;) await pool.use(async client => [await client.incr('healthy'), await pause(5)])
    }
    for (let line = 0; line < 16; line += 1) work()
    await pool.use(client => client.ping())
  },
  async 'tarn at work'() {
    const { Pool: TarnPool } = await import('tarn')
    const pool = new TarnPool({ create: async () => ({}), destroy: async () => {}, min: 0, max: 4 })
    const work = async (): Promise<never> => {
      for (;;) {
        const connection = await pool.acquire().promise
        await pause(5)
        pool.release(connection)
      }
    }
    for (let line = 0; line < 8; line += 1) work()
  },
  /** Connections to Redis that are only kept. */
  async 'idle pool'() {
    await (await openPool(8, 8)).ready()
  },
  /** Says more than its reader takes at once. */
  async talking() {
    const line = `${'x'.repeat(200)}\n`
    const talk = async (): Promise<never> => {
      for (;;) process.stdout.write(line) ? await turn() : await once(process.stdout, 'drain')
    }
    talk()
  },
  /** Waits for a child without blocking. */
  'waiting for a child': async () => spawn('sleep', ['60'], { stdio: 'ignore' }).on('spawn', ready),
  /** Threads of its own compute. */
  async 'worker threads'() {
    const code = 'for (;;) Math.sqrt(Math.random())'
    new Worker(code, { eval: true }).on('online', ready)
    await serveHttp(() => 'ok')
  },
  /** The turn of its loop takes a fifth of a second, again and again, and what has come meanwhile is served. */
  async 'short stalls'() {
    load(await serveHttp(() => 'ok'), 5, true)
    setInterval(() => {
      const end = performance.now() + 200
      while (performance.now() < end) compute(10)
    }, 400)
  },
}

await KINDS[which]?.()
ready()
