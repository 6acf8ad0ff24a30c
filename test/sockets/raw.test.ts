import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { after, before, beforeEach, describe, test } from 'node:test'
import type { Pool } from '../../src/index.ts'
import { eventually, turns } from '../support/factories.ts'
import { type FaultServer, startFaultServer } from '../support/fault-server.ts'
import { poolFor } from './fault-matrix.ts'

describe('a socket that is lent as it is', () => {
  let server: FaultServer
  let pool: Pool<Socket>
  before(async () => {
    server = await startFaultServer({ mode: 'echo' })
  })
  after(() => server.stop())
  beforeEach(async context => {
    pool = poolFor(server)
    ;(context as unknown as { after(run: () => unknown): void }).after(() =>
      pool.close({ timeoutMillis: 100 }).catch(() => {}),
    )
  })

  /** Lends, returns, and lets the socket come to rest. */
  const rested = async (use: (socket: Socket) => unknown = () => {}): Promise<Socket> => {
    const socket = await pool.acquire()
    await use(socket)
    await pool.release(socket)
    await turns(3)
    return socket
  }

  test('keeps what comes before its borrower begins to read', async () => {
    await rested()
    const socket = await pool.acquire()
    socket.write('early')
    await eventually(() => socket.readableLength > 0)
    await turns(3)
    assert.equal(String((await once(socket, 'data'))[0]), 'early')
  })

  test('can be read with read() and readable, after it was idle', async () => {
    await rested()
    const socket = await pool.acquire()
    for (const word of ['one', 'two', 'three']) {
      socket.write(word)
      await once(socket, 'readable')
      assert.equal(String(socket.read()), word)
      await turns(2)
    }
  })

  test('can be iterated, after it was idle', async () => {
    await rested()
    const socket = await pool.acquire()
    socket.write('word')
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      assert.equal(String(chunk), 'word')
      break
    }
    assert.equal(socket.destroyed, false)
  })

  test('loses nothing though it was idle in between a thousand times', async () => {
    for (let round = 0; round < 1000; round += 1) {
      const socket = await pool.acquire()
      socket.write(`${round}`)
      assert.equal(String((await once(socket, 'data'))[0]), `${round}`)
      await pool.release(socket)
      if (round % 3 === 0) await turns(round % 4)
    }
    assert.equal(pool.stats().totals.created, 1)
  })

  test('does not carry the listeners of one borrower to the next', async () => {
    const fresh = await pool.acquire()
    const names = ['data', 'readable', 'end', 'close', 'error', 'drain', 'timeout', 'finish'] as const
    const counts = (socket: Socket): number[] => names.map(name => socket.listenerCount(name))
    const before = counts(fresh)
    for (const name of names) fresh.on(name, () => assert.fail('a listener of the last borrower'))
    fresh.setTimeout(60_000)
    fresh.pause()
    await pool.release(fresh)
    await turns(3)
    const again = await pool.acquire()
    assert.equal(again, fresh)
    assert.deepEqual(counts(again), before)
    assert.equal(again.readableFlowing, null)
    assert.equal(again.timeout, 0)
    again.write('mine')
    assert.equal(String((await once(again, 'data'))[0]), 'mine')
  })

  test('adds no listener with every cycle', async () => {
    const socket = await rested()
    const count = (): number => socket.eventNames().reduce((sum, name) => sum + socket.listenerCount(name), 0)
    const before = count()
    for (let cycle = 0; cycle < 50; cycle += 1) assert.equal(await rested(), socket)
    assert.equal(count(), before)
  })

  test('with an encoding is not lent again: its next borrower would get strings', async () => {
    const socket = await rested(mine => mine.setEncoding('utf8'))
    assert.equal(socket.destroyed, true)
  })

  test('on which the server speaks between two loans is closed at once', async () => {
    const socket = await rested()
    const index = server.indexOf(socket.localPort as number)
    server.write(index, 'unasked')
    await eventually(() => socket.destroyed)
    assert.equal(pool.available, 0)
    assert.notEqual(await pool.acquire(), socket)
  })

  test('that comes back with an unread answer is not lent again', async () => {
    const socket = await pool.acquire()
    socket.write('question')
    await eventually(() => socket.readableLength > 0)
    await pool.release(socket)
    assert.notEqual(await pool.acquire(), socket)
  })

  test('whose peer has gone lets its borrower read on, and is not taken back', async () => {
    const socket = await pool.acquire()
    const index = server.indexOf(socket.localPort as number)
    server.dataThenFin(index, 'last words')
    assert.equal(String((await once(socket, 'data'))[0]), 'last words')
    await once(socket, 'end')
    await pool.release(socket)
    assert.equal(pool.available, 0)
  })
})
