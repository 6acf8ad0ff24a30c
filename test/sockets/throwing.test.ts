import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  createServer as createHttp2Server,
} from 'node:http2'
import { connect, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { createPool, isPoolError, type Pool } from '../../src/index.ts'
import { eventually, settledWithin, turns } from '../support/factories.ts'
import { type FaultServer, startFaultServer } from '../support/fault-server.ts'
import { open } from '../support/pools.ts'

/** Errors that nobody catches would end a process; here they fail the test that is running. */
const uncaught: unknown[] = []
before(() => process.on('uncaughtException', error => uncaught.push(error)))
after(() => assert.deepEqual(uncaught, []))

function destroyed(pool: {
  on(event: 'destroy', listener: (event: { reason: string; detail?: string }) => void): unknown
}): string[] {
  const reasons: string[] = []
  pool.on('destroy', ({ reason, detail }) => reasons.push(`${reason}: ${detail}`))
  return reasons
}

describe('an HTTP/2 session, whose socket throws once it is closed', () => {
  const server = createHttp2Server()
  let url: string
  before(async () => {
    server.on('stream', stream => {
      stream.respond({ ':status': 200 })
      stream.end('answer')
    })
    server.on('session', session => session.on('error', () => {}))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  })
  after(() => server.close())

  const sessions = (options: object = {}): Pool<ClientHttp2Session> =>
    open(
      {
        async create() {
          const session = connectHttp2(url)
          session.on('error', () => {})
          await once(session, 'connect')
          return session
        },
        destroy: session => session.destroy(),
        socket: session => session.socket as Socket,
      },
      { max: 2, ...options },
    )
  async function get(session: ClientHttp2Session): Promise<string> {
    const stream = session.request({ ':path': '/' })
    let text = ''
    for await (const chunk of stream) text += chunk
    return text
  }

  test('is lent, and lent again', async () => {
    const pool = sessions()
    assert.equal(await pool.use(get), 'answer')
    assert.equal(await pool.use(get), 'answer')
    assert.equal(pool.stats().totals.created, 1)
  })

  for (const how of ['close', 'destroy'] as const) {
    for (const when of ['idle', 'lent', 'about to be lent'] as const) {
      test(`ends as broken when it is gone (${how}) while ${when}, and its place is free again`, async () => {
        const pool = sessions({ max: 1, evictionRunIntervalMillis: 10, idleTimeoutMillis: 60_000 })
        const reasons = destroyed(pool)
        const session = await pool.acquire()
        assert.equal(await get(session), 'answer')
        const closed = new Promise(resolve => session.once('close', resolve))
        if (when === 'lent') session[how]()
        // What only a validate could tell: until then it takes no new streams, and its socket is open.
        if (when === 'lent') await closed
        await pool.release(session)
        if (when !== 'lent') session[how]()
        if (when === 'about to be lent') await closed
        if (when === 'idle') await eventually(() => session.destroyed && reasons.length > 0)
        assert.equal(await pool.use(get), 'answer')
        await eventually(() => pool.stats().closing === 0)
        assert.equal(reasons.length, 1)
        // The server may answer the end of the session before its socket is closed.
        assert.match(reasons[0] as string, /^broken|^half-closed|^dirty: the server sent data/)
        pool.report()
        await pool.close()
        assert.equal(pool.size, 0)
      })
    }
  }

  test('whose server goes away is found out', async () => {
    const pool = sessions({ max: 1 })
    const reasons = destroyed(pool)
    await pool.use(get)
    const gone = once(server, 'session')
    await pool.use(async session => {
      session.destroy()
      await once(session, 'close')
    })
    await pool.use(get)
    const [serverSide] = (await gone) as [{ destroy(): void }]
    serverSide.destroy()
    await eventually(() => reasons.length === 2)
    assert.equal(await pool.use(get), 'answer')
  })
})

test('an emitter that is no socket is refused with these words, not with blame for the server', async () => {
  for (const nonsense of [new EventEmitter(), { on() {} }, 'socket', 42, new URL('http://localhost')]) {
    const pool = open(
      { create: () => ({}), destroy: () => {}, socket: () => nonsense as unknown as Socket },
      { max: 1, acquireTimeoutMillis: 200 },
    )
    const outcome = await settledWithin(pool.acquire(), 1000)
    assert.equal(outcome.state, 'rejected')
    const { reason } = outcome as { reason: { message: string } }
    assert.ok(isPoolError(reason), String(reason))
    assert.match(reason.message, /factory\.socket returned neither a socket/)
    await eventually(() => pool.stats().closing === 0)
  }
})

test('a Duplex whose destroy throws gives its place back all the same', async () => {
  class Stubborn extends Duplex {
    override _read(): void {}
    override _write(_chunk: unknown, _encoding: string, done: () => void): void {
      done()
    }
    override destroy(): this {
      throw new Error('will not be destroyed')
    }
  }
  const pool = open<Stubborn>(
    {
      create: () => new Stubborn(),
      destroy: stream => void stream.destroy(),
      socket: stream => stream as unknown as Socket,
    },
    { max: 1 },
  )
  const errors: string[] = []
  pool.on('factoryDestroyError', ({ message }) => errors.push(message))
  const first = await pool.acquire()
  first.emit('end')
  await pool.release(first)
  const second = await pool.acquire()
  assert.notEqual(second, first)
  await pool.destroy(second)
  await eventually(() => pool.stats().closing === 0)
  assert.deepEqual(errors, ['will not be destroyed', 'will not be destroyed'])
})

describe('a socket that begins to throw at its nth touch', () => {
  let server: FaultServer
  before(async () => {
    server = await startFaultServer({ mode: 'echo' })
  })
  after(() => server.stop())

  /** Looks like the socket, and throws at whatever is done with it from the nth touch on, once that is armed. */
  function fragile(socket: Socket, state: { left: number }): Socket {
    const touch = (): void => {
      state.left -= 1
      if (state.left < 0) throw new Error('do not touch')
    }
    return new Proxy(socket, {
      get(target, name) {
        // A promise asks for it, and not the pool.
        if (name !== 'then') touch()
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
      set(target, name, value) {
        touch()
        return Reflect.set(target, name, value, target)
      },
      has(target, name) {
        touch()
        return Reflect.has(target, name)
      },
      ownKeys(target) {
        touch()
        return Reflect.ownKeys(target)
      },
      getOwnPropertyDescriptor(target, name) {
        touch()
        return Reflect.getOwnPropertyDescriptor(target, name)
      },
      deleteProperty(target, name) {
        touch()
        return Reflect.deleteProperty(target, name)
      },
    })
  }

  for (const lentRaw of [false, true]) {
    test(`costs that connection and nothing else, whenever that is; ${lentRaw ? 'lent as it is' : 'of a client'}`, async () => {
      let n = 0
      let touched = true
      for (; touched && n < 600; n += n < 200 ? 3 : 17) {
        const states: { left: number }[] = []
        const pool = createPool<{ socket: Socket }>(
          {
            async create() {
              const socket = connect(server.port, server.host)
              socket.on('error', () => {})
              await once(socket, 'connect')
              // Only the first is fragile.
              const state = { left: states.length === 0 ? n : Number.POSITIVE_INFINITY }
              states.push(state)
              const proxied = fragile(socket, state)
              return (lentRaw ? proxied : { socket: proxied }) as { socket: Socket }
            },
            destroy: () => {},
            socket: lent => (lentRaw ? (lent as unknown as Socket) : lent.socket),
          },
          { max: 1, acquireTimeoutMillis: 2000, resetTimeoutMillis: 50 },
        )
        for (let loan = 0; loan < 4; loan += 1) {
          const lent = await pool.acquire()
          await turns(loan % 3)
          await pool.release(lent)
          await turns(loan % 3)
        }
        pool.stats()
        pool.report()
        await pool.close()
        assert.equal(pool.size, 0)
        assert.ok(states.length <= 3, `${states.length} connections at ${n}`)
        touched = (states[0]?.left ?? 0) < 0
      }
      assert.ok(!touched, `still touched after ${n}`)
    })
  }
})
