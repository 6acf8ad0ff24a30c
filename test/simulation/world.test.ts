import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createPool } from '../../src/pool/create-pool.ts'
import { createSimulation, type LineClient, lineFactory, type Simulation } from '../../src/testing/index.ts'

const ask = (client: LineClient): Promise<string> => client.request('hello')

describe('a simulated world', () => {
  test('an hour of timeouts passes at once', async () => {
    const world = createSimulation()
    const server = world.server({ idleLimitMillis: 300_000 })
    await world.run(async () => {
      const pool = createPool(lineFactory(server), { max: 2, min: 1, idleTimeoutMillis: 60_000 })
      for (let minute = 0; minute < 60; minute += 1) {
        assert.equal(await pool.use(ask), 'hello')
        await world.sleep(60_000)
      }
      await pool.close()
      const { acquired, released } = pool.stats().totals
      assert.deepEqual([acquired, released], [60, 60])
    })
    assert.ok(world.now >= 3_600_000)
  })

  test('the timers, the date and the signals of the function under test are virtual', async () => {
    const world = createSimulation()
    const real = setTimeout
    await world.run(async () => {
      const since = [Date.now(), performance.now()]
      let ticks = 0
      const interval = setInterval(() => {
        ticks += 1
      }, 1000)
      await new Promise(resolve => setTimeout(resolve, 10_500).unref())
      clearInterval(interval)
      assert.equal(ticks, 10)
      assert.deepEqual([Date.now() - (since[0] ?? 0), performance.now() - (since[1] ?? 0)], [10_500, 10_500])
      const signal = AbortSignal.timeout(500)
      await new Promise(resolve => signal.addEventListener('abort', resolve))
      await new Promise(resolve => setImmediate(resolve))
      assert.equal(world.now, 11_000)
    })
    assert.equal(setTimeout, real)
  })

  test('timers that were never set may be cleared, as libraries do', async () => {
    const world = createSimulation()
    const nothing = [undefined, null] as never[]
    await world.run(async () => {
      for (const timer of nothing) {
        clearTimeout(timer)
        clearInterval(timer)
        clearImmediate(timer)
      }
    })
  })

  test('a function that waits for what never happens is refused, and the process has its timers back', async () => {
    const world = createSimulation({ limitMillis: 1000 })
    const real = setTimeout
    await assert.rejects(
      world.run(() => new Promise(() => {})),
      /has not ended after 1000 virtual/,
    )
    assert.equal(setTimeout, real)
    assert.equal(await world.run(() => 1), 1)
  })

  test('two simulations do not run at once', async () => {
    const world = createSimulation()
    await world.run(async () => {
      await assert.rejects(
        createSimulation().run(() => {}),
        /another simulation is running/,
      )
    })
  })

  test('the same seed gives the same run, another seed another', async () => {
    const hashes = await Promise.all([1, 1, 2].map(seed => outage(createSimulation({ seed }))))
    assert.equal(hashes[0], hashes[1])
    assert.notEqual(hashes[0], hashes[2])
  })
})

async function outage(world: Simulation): Promise<string> {
  const server = world.server({ jitterMillis: 3 })
  const pool = world.createPool(lineFactory(server), { max: 3 })
  for (let round = 0; round < 20; round += 1) {
    if (round === 5) server.restart(700)
    pool.use(ask).then(
      () => world.note('answered'),
      error => world.note(String(error.code)),
    )
    await world.sleep(100 * world.random())
  }
  const closing = pool.close()
  await world.sleep(20_000)
  await closing
  return world.hash
}

describe('sockets have a kernel side', () => {
  test('a FIN that came while the loop was blocked is unread, and is found before the connection is lent', async () => {
    const world = createSimulation()
    const server = world.server()
    await world.run(async () => {
      const pool = createPool(lineFactory(server), { max: 1 })
      assert.equal(await pool.use(ask), 'hello')
      const { socket } = await pool.use(client => client)
      world.after(10, () => server.endAll())
      world.block(50)
      assert.equal(socket.readable, true, 'JavaScript does not know of the FIN yet')
      const asked = pool.use(ask)
      assert.equal(socket.destroyed, true, 'the kernel was asked')
      assert.equal(await asked, 'hello', 'on a new connection')
      assert.equal(pool.stats().halfClose.found.borrow, 1)
      await pool.close()
    })
  })

  test('data and a FIN behind it take two poll phases', async () => {
    const world = createSimulation()
    const server = world.server()
    await world.run(async () => {
      const socket = await server.connect()
      const seen: string[] = []
      socket.on('data', data => seen.push(`${data}`)).on('end', () => seen.push('end'))
      for (const peer of server.peers) {
        peer.write('last words')
        peer.end()
      }
      world.block(5)
      await new Promise(resolve => socket.once('data', resolve))
      assert.deepEqual(seen, ['last words'])
      await new Promise(resolve => socket.once('close', resolve))
      assert.deepEqual(seen, ['last words', 'end'])
    })
  })

  test('a refused connect, a reset and a write after it are told as the kernel tells them', async () => {
    const world = createSimulation()
    const server = world.server()
    await world.run(async () => {
      server.refuse()
      await assert.rejects(server.connect(), { code: 'ECONNREFUSED' })
      server.start()
      const socket = await server.connect()
      const lost = new Promise(resolve => socket.once('error', resolve))
      server.resetAll()
      assert.equal(((await lost) as { code?: string }).code, 'ECONNRESET')
      assert.equal(socket.destroyed, true)
    })
  })
})

describe('servers have faults', () => {
  const options = { max: 1, acquireTimeoutMillis: 3000, validateTimeoutMillis: 200, testOnBorrow: true }

  for (const [what, fault, mend] of [
    ['a partition', 'partition', 'heal'],
    ['a standstill', 'freeze', 'thaw'],
    ['a silence', 'silence', 'speak'],
    ['a crash', 'crash', 'start'],
    ['a clean stop', 'stop', 'start'],
    ['a kill', 'kill', 'start'],
  ] as const) {
    test(`${what}: callers are refused in time, and served again after it`, async () => {
      const world = createSimulation()
      const server = world.server()
      await world.run(async () => {
        const pool = createPool(lineFactory(server), options)
        assert.equal(await pool.use(ask), 'hello')
        await world.sleep(100)
        server[fault]()
        const since = world.now
        await assert.rejects(pool.use(ask))
        assert.ok(world.now - since <= 3200, `${world.now - since} ms`)
        server[mend]()
        await world.sleep(2000)
        assert.equal(await pool.use(ask), 'hello')
        await pool.close()
        await world.sleep(10)
        assert.equal(server.peers.size, 0, 'no connection is left')
      })
    })
  }

  test('who writes more than a server that stands still takes has to wait, until it goes on', async () => {
    const world = createSimulation()
    const server = world.server({ onData: () => {} })
    await world.run(async () => {
      const socket = await server.connect()
      server.freeze()
      for (let chunk = 0; chunk < 10; chunk += 1) socket.write(Buffer.alloc(64 * 1024))
      await world.sleep(1000)
      assert.ok(socket.writableLength > 0)
      server.thaw()
      await world.sleep(1000)
      assert.equal(socket.writableLength, 0)
      socket.destroy()
    })
  })

  test('a limit of connections and an idle limit are those of real servers', async () => {
    const world = createSimulation()
    const server = world.server({ idleLimitMillis: 1000, maxConnections: 1 })
    await world.run(async () => {
      const first = await server.connect()
      const second = await server.connect()
      first.resume()
      second.resume()
      await new Promise(resolve => second.once('close', resolve))
      assert.ok(world.now < 10)
      await new Promise(resolve => first.once('close', resolve))
      assert.ok(world.now >= 1000 && world.now < 1010)
    })
  })
})
