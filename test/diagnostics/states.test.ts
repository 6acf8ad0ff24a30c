import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import { heard, type Message } from '../runtime/listening.ts'
import { FakeClock, settle } from '../support/clock.ts'
import { eventually, scripted } from '../support/factories.ts'
import { open } from '../support/pools.ts'

const steps = (told: readonly Message[]): string[] =>
  told.map(({ connection, from, state }) => `#${connection} ${from} → ${state}`)

test('each state of a connection is told, but for those of a loan, which acquire and release tell', async () => {
  const clock = new FakeClock()
  const factory = Object.assign(scripted('validate', 'reset'), {})
  const pool = openPool(factory, { name: 'life', max: 1, testOnBorrow: true }, false, {
    clock,
    random: () => 0,
  })
  const told = heard('state')
  const released = heard('release')
  const destroyed = heard('destroy')
  await pool.use(() => settle())
  await settle()
  await pool.destroy(await pool.acquire())
  await settle()
  assert.deepEqual(steps(told), [
    '#1 undefined → connecting',
    '#1 connecting → idle',
    '#1 idle → validating',
    '#1 validating → idle',
    '#1 lent → resetting',
    '#1 resetting → idle',
    '#1 idle → validating',
    '#1 validating → idle',
    '#1 lent → closing',
    '#1 closing → closed',
  ])
  for (const message of told) assert.equal(message.instance, pool)
  assert.deepEqual(
    released.map(({ connection, loan }) => [connection, loan]),
    [
      [1, 1],
      [1, 2],
    ],
  )
  assert.deepEqual(
    destroyed.map(({ connection }) => connection),
    [1],
  )
})

test('a failed create ends its connection, and a listener of the pool hears the same as the channel', async () => {
  const factory = scripted()
  factory.onCreate.next({ rejects: new Error('refused') })
  const told = heard('state')
  const pool = open(factory, { max: 1 })
  const events: Message[] = []
  pool.on('state', event => events.push({ ...event }))
  await pool.use(() => {})
  await eventually(() => told.length === 4)
  assert.deepEqual(steps(told), [
    '#1 undefined → connecting',
    '#1 connecting → closed',
    '#2 undefined → connecting',
    '#2 connecting → idle',
  ])
  assert.deepEqual(steps(events), steps(told))
})

test('a half-close is told on its channel, also where no listener of the pool hears it', async () => {
  const told = heard('half-close')
  const sockets: Socket[] = []
  const server = createServer(socket => sockets.push(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const pool = createSocketPool(
    { host: '127.0.0.1', port: (server.address() as { port: number }).port },
    { name: 'hung-up', max: 1 },
  )
  await pool.use(() => {})
  await eventually(() => sockets.length === 1)
  sockets[0]?.end()
  await eventually(() => told.length === 1)
  assert.deepEqual(
    told.map(({ pool: name, connection, state }) => [name, connection, state]),
    [['hung-up', 1, 'idle']],
  )
  await pool.close()
  server.close()
})
