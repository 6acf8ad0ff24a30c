import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import type { Pool } from '../../src/index.ts'
import { ChildOutput } from '../support/child-output.ts'
import { eventually, turns } from '../support/factories.ts'
import { type FaultServer, type FaultServerOptions, startFaultServer } from '../support/fault-server.ts'
import { open } from '../support/pools.ts'
import { poolFor } from './fault-matrix.ts'

/** Every listener that a socket has, and what it does by itself. */
const looksOf = (socket: Socket) => ({
  listeners: Object.fromEntries(
    socket.eventNames().map(name => [String(name), [...socket.rawListeners(name as string)]]),
  ),
  most: socket.getMaxListeners(),
  flowing: socket.readableFlowing,
  timeout: socket.timeout ?? 0,
  halfOpen: socket.allowHalfOpen,
  methods: Object.entries(socket).filter(([, value]) => typeof value === 'function'),
})

const noop = (): void => {}

/** What a borrower may do that can be put right. */
const doings: Readonly<Record<string, (socket: Socket) => unknown>> = {
  'listens to everything': socket => {
    for (const event of [
      'connect',
      'ready',
      'lookup',
      'connectionAttempt',
      'resume',
      'pause',
      'pipe',
      'unpipe',
      'secureConnect',
      'session',
      'OCSPResponse',
      'keylog',
      'data',
      'readable',
      'end',
      'close',
      'error',
      'drain',
      'timeout',
      'finish',
      'prefinish',
      'newListener',
      'removeListener',
      'an event of its own',
      Symbol('an event of its own'),
    ])
      socket.on(event as string, noop)
  },
  'listens once, and before the others': socket => {
    for (const event of ['end', 'close', 'error', 'unpipe']) socket.prependOnceListener(event, noop)
  },
  'removes all listeners': socket => socket.removeAllListeners(),
  'removes those of one event, and puts its own there': socket =>
    socket.removeAllListeners('end').removeAllListeners('error').on('end', noop),
  'takes each listener off': socket => {
    for (const event of socket.eventNames())
      for (const listener of socket.listeners(event as string))
        socket.off(event as string, listener as () => void)
  },
  'allows any number of listeners': socket => socket.setMaxListeners(0),
  'sets a timeout': socket => socket.setTimeout(60_000, noop),
  'pauses it': socket => socket.pause(),
  'lets it flow': socket => socket.resume(),
  'pipes it away': socket => socket.pipe(new Writable({ write: (_1, _2, done) => done() })),
  'pipes it away, and removes all listeners': socket => {
    socket.pipe(new PassThrough())
    socket.removeAllListeners()
  },
  'lets it stay half open': socket => {
    socket.allowHalfOpen = true
  },
  'replaces its methods': socket => {
    socket.write = () => assert.fail('the write of the last borrower')
    socket.on = () => assert.fail('the on of the last borrower')
    socket.emit = () => false
  },
  'writes in another encoding from now on': socket => socket.setDefaultEncoding('latin1'),
}

for (const [name, options] of [
  ['TCP', {}],
  ['TLS 1.2', { tls: { version: '1.2' } }],
  ['TLS 1.3', { tls: { version: '1.3' } }],
] as const satisfies [string, FaultServerOptions][]) {
  describe(`a borrower of a socket (${name})`, () => {
    let server: FaultServer
    let pool: Pool<Socket>
    before(async () => {
      server = await startFaultServer({ mode: 'echo', ...options })
    })
    after(() => server.stop())
    beforeEach(() => {
      pool = poolFor(server)
    })
    afterEach(() => pool.close({ timeoutMillis: 1 }).catch(noop))

    /** Lends the socket until another borrower has had an answer on it, so that it is like any other. */
    const asMade = async (): Promise<Socket> => {
      await pool.use(async socket => {
        socket.write('warm')
        await once(socket, 'data')
      })
      await turns(3)
      return pool.acquire()
    }

    for (const [doing, act] of Object.entries(doings)) {
      for (const rests of [true, false]) {
        test(`who ${doing} leaves nothing of that to the next${rests ? '' : ', who gets it at once'}`, async () => {
          const socket = await asMade()
          const before = looksOf(socket)
          const next = rests ? undefined : pool.acquire()
          act(socket)
          await pool.release(socket)
          if (rests) await turns(3)
          const again = await (next ?? pool.acquire())
          assert.equal(again, socket, 'the same connection')
          assert.deepEqual(looksOf(again), before)
          again.write('mïne')
          assert.equal(String((await once(again, 'data'))[0]), 'mïne')
          await pool.release(again)
        })
      }
    }

    test('may destroy it with an error and then remove all listeners', async () => {
      const socket = await asMade()
      socket.destroy(new Error('the borrower has had enough'))
      socket.removeAllListeners()
      await turns(3)
      await pool.release(socket)
      assert.notEqual(await pool.use(other => other), socket)
    })

    test('who removes all listeners and dies with it hides nothing: it is found out on return', async () => {
      const socket = await asMade()
      socket.removeAllListeners()
      server.fin(server.indexOf(socket.localPort as number))
      socket.resume()
      await eventually(() => socket.readableEnded || socket.destroyed)
      await pool.release(socket)
      assert.equal(pool.available, 0)
    })

    test('who leaves a stream piped into it spoils it, and the stream goes nowhere', async () => {
      const socket = await asMade()
      const source = new PassThrough()
      source.pipe(socket)
      await pool.release(socket)
      source.write('of the last borrower')
      const next = await pool.acquire()
      assert.notEqual(next, socket)
      next.write('mine')
      assert.equal(String((await once(next, 'data'))[0]), 'mine')
      await pool.release(next)
    })

    test('may pipe a stream into it, as long as that has ended', async () => {
      const socket = await asMade()
      const source = new PassThrough()
      source.pipe(socket, { end: false })
      source.end('piped')
      assert.equal(String((await once(socket, 'data'))[0]), 'piped')
      if (!source.readableEnded) await once(source, 'end')
      await pool.release(socket)
      assert.equal(await pool.use(again => again), socket)
    })

    test('who tunes it leaves it tuned as it was', async () => {
      const socket = await asMade()
      const settings = () =>
        Object.getOwnPropertySymbols(socket)
          .filter(({ description }) => description?.startsWith('kSet'))
          .map(symbol => (socket as unknown as Record<symbol, unknown>)[symbol])
          // Node 26 adds some as soon as anything is set.
          .filter(value => value !== undefined)
      const before = settings()
      socket.setNoDelay(false).setKeepAlive(false)
      await pool.release(socket)
      await turns(3)
      const again = await pool.acquire()
      assert.equal(again, socket)
      if (name === 'TCP') assert.deepEqual(settings(), before)
      again.setNoDelay(false).setKeepAlive(true, 5000)
      await pool.release(again)
      const third = await pool.acquire()
      if (name === 'TCP') assert.deepEqual(settings(), before)
      await pool.release(third)
    })
  })
}

/** Runs a script in a process of its own. @returns what it said, and how it ended */
async function run(script: string, ...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output = new ChildOutput(child)
  const code = await output.ended
  return `${output.stdout.trim()}, ${code}`
}

for (const kind of ['TCP', 'TLS', 'of its own factory', 'of a client']) {
  test(`a socket (${kind}) whose borrower has removed all listeners ends no process when it is reset`, async () => {
    assert.equal(await run('deaf-child.js', kind), 'lives, 0')
  })
}

for (const kind of ['TCP', 'TLS', 'of a client']) {
  test(`a socket (${kind}) that its borrower has unref'd holds the process while the next one awaits its answer`, async () => {
    const server = await startFaultServer({ mode: 'echo', ...(kind === 'TLS' ? { tls: {} } : {}) })
    assert.equal(await run('unref-child.js', kind, String(server.port)), 'answered, 0')
    await server.stop()
  })
}

describe('a borrower of a client with a socket', () => {
  let server: FaultServer
  before(async () => {
    server = await startFaultServer({ mode: 'echo' })
  })
  after(() => server.stop())

  class Client {
    readonly socket: Socket
    answers = 0
    constructor(port: number) {
      this.socket = connect(port, '127.0.0.1')
      this.socket.on('data', () => {
        this.answers += 1
      })
      this.socket.on('close', noop).on('error', noop)
    }
    async ask(): Promise<void> {
      const { answers } = this
      this.socket.write('question')
      await eventually(() => this.answers > answers)
    }
  }
  const clientPool = () =>
    open<Client>(
      {
        async create() {
          const client = new Client(server.port)
          await once(client.socket, 'connect')
          return client
        },
        destroy: client => void client.socket.destroy(),
        socket: client => client.socket,
      },
      { max: 1 },
    )

  test('who removes the listeners of the client leaves nobody a deaf one, and a reset ends no process', async () => {
    const pool = clientPool()
    const client = await pool.acquire()
    client.socket.removeAllListeners()
    await pool.release(client)
    assert.notEqual(await pool.use(other => other.ask().then(() => other)), client)

    const second = await pool.acquire()
    second.socket.removeAllListeners()
    server.rst(server.indexOf(second.socket.localPort as number))
    second.socket.resume()
    await eventually(() => second.socket.destroyed)
    await turns(3)
    await pool.release(second)
    await pool.use(other => other.ask())
  })

  test('who pauses its socket leaves it flowing, and what the client adds of its own stays', async () => {
    const pool = clientPool()
    const client = await pool.acquire()
    client.socket.pause()
    const later = (): void => {}
    client.socket.on('drain', later)
    await pool.release(client)
    const again = await pool.acquire()
    assert.equal(again, client)
    await again.ask()
    assert.deepEqual(again.socket.listeners('drain'), [later])
    await pool.release(again)
  })
})
