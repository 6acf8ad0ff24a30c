import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import genericPool from 'generic-pool'
import { createPool, type PoolOptions } from '../../src/index.ts'

/** A server in a process of its own that takes every connection and says nothing. */
export async function silentServer(): Promise<{ port: number; stop(): void }> {
  const child = fork(new URL('../studies/half-close-server.js', import.meta.url), {
    execArgv: ['--no-warnings'],
  })
  const [port] = (await once(child, 'message')) as [number]
  return { port, stop: () => child.kill() }
}

export interface SocketPool {
  acquire(): Promise<Socket>
  release(socket: Socket): unknown
}

function factoryOf(port: number) {
  return {
    async create(): Promise<Socket> {
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      return socket
    },
    async destroy(socket: Socket): Promise<void> {
      socket.destroy()
    },
    socket: (socket: Socket) => socket,
  }
}

const NONE: PoolOptions = {
  nested: 'allow',
  halfClose: 'off',
  acquireTimeoutMillis: false,
  captureStacks: 'off',
}
const MINUTE = 60_000

const OPTIONS: Readonly<Record<string, PoolOptions>> = {
  'no guard': NONE,
  deadline: { ...NONE, acquireTimeoutMillis: 5000 },
  "nested: 'detect'": { ...NONE, nested: 'detect' },
  halfClose: { ...NONE, halfClose: 'on' },
  leakThresholdMillis: { ...NONE, leakThresholdMillis: MINUTE },
  "captureStacks: 'sampled'": { ...NONE, captureStacks: 'sampled' },
  "captureStacks: 'all'": { ...NONE, captureStacks: 'all' },
  'all defaults': {},
  'all guards': { leakThresholdMillis: MINUTE, shedding: {} },
}

/** generic-pool, and ours with each guard alone, over the same real sockets. */
export const GUARDS = ['generic-pool', ...Object.keys(OPTIONS)]

export function guardedPool(name: string, port: number, max: number): SocketPool {
  if (name === 'generic-pool') {
    return genericPool.createPool(factoryOf(port), { max }) as unknown as SocketPool
  }
  return createPool(factoryOf(port), { max, fifo: false, ...OPTIONS[name] })
}
