/*
 * Processes with a fault. Argument: which one. Each says its port on stdout when the fault is about to strike. The client
 * of Redis is loaded only by the one that uses it.
 */
import { execSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'

const [, , which = '', url = ''] = process.argv
const ioredis = which === 'silent server' ? await import('ioredis') : undefined

const FAULTS: Readonly<Record<string, () => void>> = {
  'its own code': () => {
    for (;;) Math.sqrt(Math.random())
  },
  execSync: () => execSync('sleep 60'),
  descriptors: () => {
    const files: number[] = []
    try {
      for (;;) files.push(openSync('/dev/null', 'r'))
    } catch {
      // All are in use. What is left must do for a while.
      for (const file of files.slice(-3)) closeSync(file)
    }
  },
  /** Asks a server, and gets no answer. */
  'silent server': () => {
    const redis = ioredis && new ioredis.Redis(url)
    redis?.on('ready', () => setInterval(() => redis?.ping().catch(() => {}), 50))
  },
}

/** Blocks itself once its connection is there. No input waits for it meanwhile. */
const blocked: Readonly<Record<string, () => void>> = {
  'execSync with connections': () => connect(Number(url), '127.0.0.1', () => execSync('sleep 60')),
  'Atomics.wait with connections': () =>
    connect(Number(url), '127.0.0.1', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)),
  'execSync alone': () => setImmediate(() => execSync('sleep 60')),
}

/** What asks it asks another process. */
const forward = (socket: Socket): void => {
  const there = connect(Number(url), '127.0.0.1').on('error', () => {})
  socket
    .on('error', () => {})
    .pipe(there)
    .pipe(socket)
}

/** Accepts, and forgets what it has accepted. */
const lost: Socket[] = []
if (which === 'lost after accept')
  await listen(createTcpServer({ pauseOnConnect: true }, socket => lost.push(socket)))
else if (which === 'forward') await listen(createTcpServer(forward))
else if (blocked[which] !== undefined) {
  process.stdout.write('soon\n', () => blocked[which]?.())
} else {
  await serve()
}

async function listen(forgetful: ReturnType<typeof createTcpServer>): Promise<void> {
  forgetful.listen(0, '127.0.0.1')
  await once(forgetful, 'listening')
  process.stdout.write(`${(forgetful.address() as AddressInfo).port}\n`)
}

async function serve(): Promise<void> {
  const server = createServer((_request, response) => {
    FAULTS[which]?.()
    response.end('ok')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
}
