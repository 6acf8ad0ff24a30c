import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import type { Pool } from '../../src/index.ts'
import { eventually, turns } from '../support/factories.ts'
import { type FaultServer, type FaultServerOptions, startFaultServer } from '../support/fault-server.ts'
import { poolFor } from './fault-matrix.ts'

const noop = (): void => {}
const bad = (): never => assert.fail('of the last borrower')

/** How a borrower may put something of his own in the place of what the socket has; each can be undone. */
const replacements: Readonly<Record<string, (socket: Socket) => unknown>> = {
  'in hidden properties, as tools for tracing do': socket => {
    for (const name of ['write', 'emit', 'on', 'end'])
      Object.defineProperty(socket, name, { value: bad, writable: true, configurable: true })
  },
  'by accessors': socket => {
    for (const name of ['write', 'push', 'setTimeout'])
      Object.defineProperty(socket, name, { get: bad, configurable: true, enumerable: true })
  },
  'by another prototype': socket =>
    Object.setPrototypeOf(
      socket,
      Object.create(Object.getPrototypeOf(socket) as object, { write: { value: bad } }) as object,
    ),
  'under a symbol': socket => {
    socket[Symbol.asyncIterator] = bad
  },
  'below the methods': socket => {
    socket._write = bad
    socket._destroy = bad
  },
  'in the place of what says how it is': socket => {
    Object.defineProperty(socket, 'destroyed', { value: false, configurable: true, enumerable: true })
    Object.defineProperty(socket, 'remoteAddress', { value: '6.6.6.6', configurable: true, enumerable: true })
  },
  'and takes away what the pool has put there': socket => {
    Reflect.deleteProperty(socket, 'emit')
    Reflect.deleteProperty(socket, 'push')
  },
}

/** What a socket has of its own that hides what it inherits, and what it inherits from. */
const looksOf = (socket: Socket) => ({
  prototype: Object.getPrototypeOf(socket) as object,
  hiding: new Set(Reflect.ownKeys(socket).filter(name => name in (Object.getPrototypeOf(socket) as object))),
})

for (const [name, options] of [
  ['TCP', {}],
  ['TLS 1.3', { tls: { version: '1.3' } }],
] as const satisfies [string, FaultServerOptions][]) {
  describe(`a borrower of a socket (${name})`, () => {
    let server: FaultServer
    let pool: Pool<Socket>
    const reasons: string[] = []
    before(async () => {
      server = await startFaultServer({ mode: 'echo', ...options })
    })
    after(() => server.stop())
    beforeEach(() => {
      pool = poolFor(server)
      reasons.length = 0
      pool.on('destroy', ({ reason, detail }) => reasons.push(`${reason}: ${detail}`))
    })
    afterEach(() => pool.close({ timeoutMillis: 1 }).catch(noop))

    const asks = async (socket: Socket): Promise<void> => {
      socket.write('mine')
      assert.equal(String((await once(socket, 'data'))[0]), 'mine')
    }
    /** Lends the socket until another borrower has had an answer on it, so that it is like any other. */
    const asMade = async (): Promise<Socket> => {
      await pool.use(asks)
      await turns(3)
      return pool.acquire()
    }

    for (const [how, replace] of Object.entries(replacements)) {
      for (const rests of [true, false]) {
        test(`who replaces methods ${how} leaves the next one those of the socket${rests ? '' : ', who gets it at once'}`, async () => {
          const socket = await asMade()
          const before = looksOf(socket)
          const next = rests ? undefined : pool.acquire()
          replace(socket)
          await pool.release(socket)
          if (rests) await turns(3)
          const again = await (next ?? pool.acquire())
          assert.equal(again, socket, `the same connection: ${reasons}`)
          assert.deepEqual(looksOf(again), before)
          await asks(again)
          await pool.release(again)
        })
      }
    }

    test('whose replacement cannot be taken away leaves it to nobody', async () => {
      const socket = await asMade()
      Object.defineProperty(socket, 'write', { value: bad })
      await pool.release(socket)
      await pool.use(asks)
      assert.deepEqual(reasons, ['dirty: its borrower has replaced its write, which cannot be undone'])
    })

    test('who leaves a note on it, as that it has logged in, finds the note again', async () => {
      const socket = (await asMade()) as Socket & { isLoggedIn?: boolean }
      socket.isLoggedIn = true
      await pool.release(socket)
      const again = (await pool.acquire()) as typeof socket
      assert.equal(again.isLoggedIn, true)
      await pool.release(again)
    })

    test('who pauses it leaves the next one, who gets it at once, a socket that is not paused', async () => {
      const socket = await asMade()
      const next = pool.acquire()
      socket.pause()
      await pool.release(socket)
      assert.equal(await next, socket)
      assert.equal(socket.isPaused(), false)
      await asks(socket)
      await pool.release(socket)
    })

    test('who leaves bytes unread has left it dirty: the server is not blamed, nor the others suspected', async () => {
      const socket = await asMade()
      socket.pause()
      socket.write('nobody reads the answer')
      await eventually(() => socket.readableLength > 0)
      await pool.release(socket)
      await pool.use(asks)
      assert.deepEqual(reasons, ['dirty: there are bytes on it that nobody has read'])
      assert.equal(pool.stats().halfClose.suspicions, 0)
    })

    test('who changes how it is probed, and how often, leaves it as it was', {
      skip: name !== 'TCP' ? 'a TLS socket does not tell' : false,
    }, async () => {
      const socket = await asMade()
      const settings = () =>
        Object.fromEntries(
          Object.getOwnPropertySymbols(socket)
            .map(symbol => [symbol.description, (socket as unknown as Record<symbol, unknown>)[symbol]])
            .filter(([description, value]) => String(description).startsWith('kSet') && value !== undefined),
        ) as Record<string, unknown>
      const before = settings()
      const { setKeepAlive } = socket as unknown as { setKeepAlive(...given: unknown[]): unknown }
      // Only what Node 24 has added differs.
      Reflect.apply(setKeepAlive, socket, [true, 10_000, 3000, 4])
      await pool.release(socket)
      await turns(3)
      const again = await pool.acquire()
      assert.equal(again, socket)
      assert.deepEqual(settings(), before)
      const { setTypeOfService } = again as unknown as { setTypeOfService?(value: number): unknown }
      if (setTypeOfService !== undefined) Reflect.apply(setTypeOfService, again, [16])
      await pool.release(again)
      await turns(3)
      assert.equal(await pool.acquire(), socket)
      assert.deepEqual({ kSetTOS: 0, ...settings() }, { kSetTOS: 0, ...before })
      await pool.release(socket)
    })
  })
}
