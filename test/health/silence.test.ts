import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Factory, PoolError, PoolOptions } from '../../src/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { FakeSocket } from '../model/scripted-server.ts'
import { FakeClock } from '../support/clock.ts'

class Wire extends FakeSocket {
  bytesRead = 0
  bytesWritten = 0
}

interface Client {
  readonly id: number
  readonly socket: Wire
  isSilent: boolean
  command: string | false
}

/** A pool on an injected clock, whose connections may fall silent. A close takes a turn, a connect 2 ms. */
function setUp(options: PoolOptions) {
  const clock = new FakeClock()
  const clients: Client[] = []
  let asked = 0
  let mostAsked = 0
  const factory: Factory<Client> = {
    create: () =>
      new Promise(resolve => {
        clock.after(2, () => {
          const client: Client = { id: clients.length, socket: new Wire(), isSilent: false, command: false }
          clients.push(client)
          resolve(client)
        })
      }),
    destroy: client => void client.socket.destroy(),
    validate: (client, signal) => {
      if (!client.isSilent) return true
      asked += 1
      mostAsked = Math.max(mostAsked, asked)
      return new Promise<boolean>(resolve => {
        signal.addEventListener('abort', () => {
          asked -= 1
          resolve(false)
        })
      })
    },
    socket: client => client.socket as never,
    busy: client => client.command as boolean,
  }
  const pool = openPool(
    factory,
    { name: 'test', fifo: false, validateAfterIdleMillis: 500, ...options },
    false,
    {
      clock,
      random: () => 0.5,
    },
  )
  const fill = async (count: number): Promise<void> => {
    const lent = Array.from({ length: count }, () => pool.acquire({ timeoutMillis: false }))
    await clock.advance(5000)
    for (const each of lent) void pool.release(await each)
  }
  return { clock, clients, pool, fill, mostAsked: () => mostAsked }
}

for (const count of [1, 10, 100, 1000]) {
  test(`with ${count} silent idle connections a caller waits for one of them, and for a connect`, async () => {
    const { clock, clients, pool, fill, mostAsked } = setUp({ max: count, validateTimeoutMillis: 1000 })
    await fill(count)
    await clock.advance(10_000)
    for (const client of clients) client.isSilent = true
    const came = clock.now()
    let at = Number.NaN
    const served = pool.acquire().then(client => {
      at = clock.now()
      return client
    })
    await clock.advance(1200)
    assert.ok(at - came <= 1010, `served after ${at - came} ms`)
    const client = await served
    assert.equal(client.isSilent, false)
    void pool.release(client)
    // The others are asked together, not one after the other, and are gone a second later.
    await clock.advance(1100)
    assert.ok(clients.filter(each => each.isSilent && !each.socket.destroyed).length === 0)
    assert.ok(count < 50 || mostAsked() > count / 2, `${mostAsked()} were asked at once`)
    await pool.close()
  })
}

test('with permits to spare nobody waits for a silent connection: a new one is made as soon as it is late', async () => {
  const { clock, clients, pool, fill } = setUp({ max: 20, validateTimeoutMillis: 1000 })
  await fill(10)
  await clock.advance(10_000)
  for (const client of clients) client.isSilent = true
  const came = clock.now()
  const at: number[] = []
  for (let caller = 0; caller < 5; caller += 1)
    pool.acquire().then(client => {
      at.push(clock.now() - came)
      clock.after(1, () => void pool.release(client))
    })
  await clock.advance(300)
  assert.equal(at.length, 5)
  await pool.close()
})

test('silent connections beside good ones: the good ones are lent, the silent ones end', async () => {
  const { clock, clients, pool, fill } = setUp({ max: 20, validateTimeoutMillis: 1000 })
  await fill(20)
  await clock.advance(10_000)
  for (const client of clients.slice(10)) client.isSilent = true
  let served = 0
  for (let round = 0; round < 100; round += 1) {
    pool
      .use(async client => {
        assert.equal(client.isSilent, false)
        served += 1
      })
      .catch(() => {})
    await clock.advance(20)
  }
  await clock.advance(1500)
  assert.equal(served, 100)
  assert.ok(clients.every(client => client.isSilent === client.socket.destroyed))
  await pool.close()
})

test('the report and the timeout name a server that stands still, with what waits for it and since when', async () => {
  const { clock, clients, pool, fill } = setUp({ max: 4, acquireTimeoutMillis: 3000 })
  await fill(4)
  for (let lent = 0; lent < 4; lent += 1) void pool.acquire()
  await clock.advance(1)
  for (const client of clients.slice(0, 3)) {
    client.command = 'GET'
    client.socket.bytesWritten += 20
  }
  const timeout = pool.acquire().catch((error: PoolError) => error)
  await clock.advance(3100)
  const { message } = (await timeout) as PoolError
  assert.match(message, /3 of the 4 lent connections wait for an answer/)
  assert.match(message, /GET/)
  const found = pool.reportJson().findings.join('\n')
  assert.match(found, /server is silent: 3 of the 4 lent connections wait for an answer/)
  assert.match(found, /GET/)
})

test('a server that answers, though slowly, is not called silent', async () => {
  const { clock, clients, pool, fill } = setUp({ max: 2, acquireTimeoutMillis: 3000 })
  await fill(2)
  for (let lent = 0; lent < 2; lent += 1) void pool.acquire()
  await clock.advance(1)
  for (const client of clients) client.command = 'GET'
  const timeout = pool.acquire().catch((error: PoolError) => error)
  for (let at = 0; at < 3200; at += 100) {
    for (const client of clients) client.socket.bytesRead += 1
    await clock.advance(100)
  }
  assert.doesNotMatch(((await timeout) as PoolError).message, /wait for an answer/)
  assert.doesNotMatch(pool.reportJson().findings.join('\n'), /silent/)
})

test('stuckMillis ends a lent connection whose command gets no byte for so long, and tells', async () => {
  const { clock, clients, pool, fill } = setUp({ max: 2, stuckMillis: 4000 })
  await fill(2)
  const ended: string[] = []
  pool.on('destroy', ({ reason, detail }) => ended.push(`${reason}: ${detail}`))
  const [stuck, working] = [await pool.acquire(), await pool.acquire()]
  stuck.command = 'GET'
  working.command = 'GET'
  for (let at = 0; at < 3000; at += 500) {
    await clock.advance(500)
    working.socket.bytesRead += 1
  }
  assert.deepEqual(ended, [])
  for (let at = 0; at < 3000; at += 500) {
    await clock.advance(500)
    working.socket.bytesRead += 1
  }
  assert.equal(stuck.socket.destroyed, true)
  assert.equal(working.socket.destroyed, false)
  assert.match(ended[0] ?? '', /^stuck: .*GET.*no data/)
  assert.equal(pool.isBorrowedResource(stuck), false)
  const next = pool.acquire()
  await clock.advance(10)
  assert.ok(await next, 'its place is free again')
  assert.equal(clients.length, 3)
})

test('stuckMillis leaves alone who has no command under way, and is off by default', async () => {
  for (const [options, command] of [
    [{ stuckMillis: 2000 }, false],
    [{}, 'GET'],
  ] as const) {
    const { clock, pool } = setUp({ max: 2, ...options })
    const asked = pool.acquire()
    await clock.advance(10)
    const client = await asked
    client.command = command
    await clock.advance(20_000)
    assert.equal(client.socket.destroyed, false)
  }
})
