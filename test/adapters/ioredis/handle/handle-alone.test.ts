/* Handles of a client without a server: what they pass on, refuse, and keep to themselves. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Redis } from 'ioredis'
import type { Client } from '../../../../src/adapters/ioredis/client/client-types.ts'
import { handleClass } from '../../../../src/adapters/ioredis/handle/handle.ts'
import { rejection } from '../versions.ts'
import { guardOf, lenderOf, loanOf, replyError } from './scripted-client.ts'

describe('the class of handles', () => {
  class Mine extends Redis {}
  const clientWith = (...fields: string[]): Client => {
    const client = new Mine({ lazyConnect: true })
    for (const field of fields) Object.assign(client, { [field]: 1 })
    return client as unknown as Client
  }

  test('is shared by clients of the same fields, and by no others', () => {
    const plain = handleClass(clientWith())
    assert.equal(handleClass(clientWith()), plain)
    const one = handleClass(clientWith('one'))
    assert.notEqual(one, plain)
    assert.notEqual(handleClass(clientWith('other')), one)
    assert.equal(handleClass(clientWith('one')), one)
    assert.notEqual(handleClass(clientWith('one', 'two')), one)
    const both = handleClass(clientWith('one', 'two'))
    assert.notEqual(handleClass(clientWith('two', 'one')), both)
  })

  test('of a client with one field more is not taken for one without', () => {
    class Longer extends Redis {}
    const client = (): Client => new Longer({ lazyConnect: true }) as unknown as Client
    // Symbols come last: all other fields are in the same places.
    const longer = handleClass(Object.assign(client(), { [Symbol('more')]: 1 }))
    assert.notEqual(handleClass(client()), longer)
  })

  test('has methods that a tracer may replace by definition, as those of a class', () => {
    class Traced extends Redis {}
    const { prototype } = handleClass(new Traced({ lazyConnect: true }) as unknown as Client)
    const sendCommand = (): string => 'traced'
    Object.defineProperty(prototype, 'sendCommand', { value: sendCommand })
    assert.equal(prototype.sendCommand, sendCommand)
    Object.defineProperty(prototype, 'connect', { get: () => 'traced' })
    assert.equal(prototype.connect, 'traced')
  })

  test('is kept for twenty kinds of clients, the oldest is forgotten first', () => {
    class Other extends Redis {}
    const clients = Array.from({ length: 21 }, (_, index) =>
      Object.assign(new Other({ lazyConnect: true }), { [`field${index}`]: 1 }),
    ) as unknown as Client[]
    const classes = clients.slice(0, 20).map(handleClass)
    assert.deepEqual(
      clients.slice(0, 20).map((client, index) => handleClass(client) === classes[index]),
      classes.map(() => true),
    )
    handleClass(clients[20] as Client)
    assert.equal(handleClass(clients[1] as Client), classes[1])
    assert.notEqual(handleClass(clients[0] as Client), classes[0])
  })
})

describe('a command of a handle', () => {
  test('is sent once its guard has let it pass, which is asked of a pipeline as a whole', async () => {
    const { lend, run, sent, answer } = lenderOf()
    const handle = lend()
    const guard = guardOf('set')
    loanOf(handle).guard = guard
    run(handle, 'get', 'a')
    assert.match((await rejection(handle.set('a', 'b'))).message, /set is refused/)
    assert.deepEqual([guard.heard, sent.length], [['get'], 1])
    answer('x')
    const refused = handle.pipeline().get('a').set('a', 'b')
    assert.match((await rejection(refused.exec())).message, /set is refused/)
    const heard: unknown[] = []
    await rejection(refused.exec(error => heard.push(error?.message)))
    assert.deepEqual(heard, ['set is refused'])
    assert.equal(sent.length, 0, 'nothing was sent')
    void handle.pipeline().get('a').exec()
    assert.deepEqual(guard.heard, ['get', 'get'])
    // A command of a pipeline that is on its way is asked about no more.
    handle.sendCommand(new Redis.Command('set', ['a', 'b']) as never, {} as never)
    assert.deepEqual(guard.heard, ['get', 'get', 'set'])
  })

  test('is looked at only where it may leave something or an order is kept', () => {
    const { lender, lend, run } = lenderOf()
    const handle = lend()
    const looked: string[] = []
    lender.conflict = (_, { name }) => void looked.push(name)
    const recorded: string[] = []
    lender.recordSender = () => assert.fail('nothing was left without an answer so far')
    lender.record = (_, { name }) => void recorded.push(name)
    for (const name of ['get', 'config', 'monitor']) run(handle, name, 'x')
    assert.deepEqual(
      [looked, recorded],
      [
        ['config', 'monitor'],
        ['config', 'monitor'],
      ],
    )
    Object.assign(loanOf(handle), { order: {} })
    run(handle, 'get', 'x')
    assert.deepEqual([looked.at(-1), recorded.length], ['get', 2])
  })

  test('is rejected where the stream has closed, and shows no password when it fails', async () => {
    const { lend, stream, sent, answer } = lenderOf()
    const handle = lend()
    const failing = handle.auth('me', 'hunter2')
    answer(replyError("ERR unknown command 'AUTH', with args beginning with: 'me' 'hunter2'"))
    assert.doesNotMatch((await rejection(failing)).message, /hunter2/)
    const lost = handle.auth('me', 'hunter2')
    const [command] = sent
    command?.reject(Object.assign(new Error('lost'), { command: { name: 'auth', args: ['me', 'hunter2'] } }))
    assert.doesNotMatch(JSON.stringify(await rejection(lost)), /hunter2/)
    const failed = handle.select(4711)
    sent.shift()
    answer(replyError('ERR DB index 4711 is out of range'))
    assert.match((await rejection(failed)).message, /4711/, 'what is no secret is shown')
    stream.writable = false
    assert.equal((await rejection(handle.get('a'))).message, 'Connection is closed.')
    assert.equal(sent.length, 0)
  })

  test('is passed on while there is no stream yet', () => {
    const { redis, lend, run, sent } = lenderOf()
    Object.assign(redis, { stream: undefined })
    run(lend(), 'get', 'a')
    assert.equal(sent.length, 1)
  })

  test('that was refused in a pipeline ends the connection, another one does not', () => {
    for (const pipeline of [undefined, {}]) {
      const { lend, run, answer, stream } = lenderOf()
      const handle = lend()
      run(handle, 'monitor')
      answer('OK')
      const command = new Redis.Command('get', ['a'])
      handle.sendCommand(command as never, pipeline as never)
      assert.equal(stream.destroyed, pipeline !== undefined)
    }
  })
})

test('connect is refused in the words of the state, by promise and by callback', async () => {
  const { lend, giveBack, scripted } = lenderOf()
  const handle = lend()
  const messages: string[] = []
  const hear = async (): Promise<void> => {
    messages.push((await rejection(handle.connect())).message)
    const told = new Promise(resolve => handle.connect(resolve as never).catch(() => {}))
    messages.push(((await told) as Error).message)
  }
  await hear()
  scripted.status = 'end'
  await hear()
  giveBack(handle)
  await hear()
  for (const [at, wanted] of [
    /already connect/,
    /already connect/,
    /not opened again/,
    /not opened again/,
    /redis\.connect was used/,
    /redis\.connect was used/,
  ].entries())
    assert.match(messages[at] ?? '', wanted)
})

test('disconnect ends the connection as its socket needs it, and is a fault', () => {
  for (const [status, stream, wanted] of [
    ['ready', {}, 'half'],
    ['ready', { destroyed: true }, 'destroyed'],
    ['ready', undefined, 'destroyed'],
    ['end', {}, 'nothing'],
    ['end', { destroyed: true }, 'nothing'],
  ] as const) {
    const { redis, lend, lender, scripted, giveBack } = lenderOf()
    const handle = lend()
    const seen: string[] = []
    const { connector } = redis as unknown as { connector: { stream: unknown } }
    const disconnect = (): void => {
      // Where the client is destroyed, ioredis sees no stream any more.
      seen.push(connector.stream === undefined ? 'destroyed' : 'half')
    }
    Object.defineProperty(redis, 'disconnect', { value: disconnect, configurable: true })
    const given = stream && { writable: true, destroyed: false, destroy: () => {}, ...stream }
    Object.assign(redis, { status, stream: given })
    connector.stream = given
    handle.disconnect()
    const name = `${status} ${JSON.stringify(stream)}`
    assert.deepEqual(seen, wanted === 'nothing' ? [] : [wanted], name)
    assert.equal(lender.fault, 'disconnect()')
    scripted.status = 'end'
    handle.disconnect()
    assert.equal(giveBack(handle)?.left, 'disconnect()')
  }
  const { lend, lender, scripted } = lenderOf()
  lender.fault = 'an earlier one'
  scripted.status = 'end'
  lend().disconnect()
  assert.equal(lender.fault, 'an earlier one')
})

test('a field is that of the client until the borrower sets it, then an ordinary one of the handle', () => {
  const { redis, lend, giveBack, scripted } = lenderOf()
  Object.assign(redis, { tag: 'of the client' })
  const handle = lend() as Redis & { tag?: string }
  assert.equal(handle.tag, 'of the client')
  handle.tag = 'mine'
  handle.tag = 'mine again'
  assert.equal(handle.tag, 'mine again')
  assert.ok(Object.keys(handle).includes('tag'))
  const shared = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(handle), 'tag')
  assert.deepEqual(
    [shared?.enumerable, shared?.configurable],
    [true, true],
    'an instrumentation may replace it',
  )
  assert.equal((redis as { tag?: string }).tag, 'of the client')
  delete handle.tag
  assert.equal(handle.tag, 'of the client')
  assert.equal(handle.stream, redis.stream)
  assert.equal(handle.condition, redis.condition)
  assert.equal(handle.status, 'ready')
  scripted.status = 'reconnecting'
  assert.equal(handle.status, 'reconnecting')
  giveBack(handle)
  assert.equal(handle.status, 'end')
  assert.equal((handle as { then?: unknown }).then, undefined)
  for (const read of [() => handle.stream, () => handle.condition, () => handle.on('end', () => {})])
    assert.throws(read, /was used/)
  assert.equal(handle.tag, 'of the client', 'what is no way to the connection may be read')
  // What a handle replaces can be replaced again, as on a client.
  const own = () => 'own'
  handle.sendCommand = own as never
  assert.equal((handle.sendCommand as unknown) === own, true)
})

test('an event reaches the listeners of the client and of the handle that is lent, and a message those who want it', () => {
  const { redis, lend, giveBack } = lenderOf()
  assert.equal(redis.emit('message', 1), false)
  const handle = lend()
  assert.equal(redis.emit('message', 2), false, 'nobody listens')
  const heard: unknown[] = []
  const hear = (message: unknown): void => void heard.push(message)
  handle.on('message', hear)
  assert.equal(redis.emit('message', 3), true)
  assert.deepEqual(redis.listeners('message'), [hear])
  redis.on('message', message => heard.push(`client ${message}`))
  assert.equal(redis.emit('message', 4), true)
  assert.equal(redis.listeners('message').length, 2)
  giveBack(handle)
  assert.equal(redis.emit('message', 5), true)
  assert.equal(redis.listeners('message').length, 1)
  assert.deepEqual(heard, [3, 'client 4', 4, 'client 5'])
})

test('what must not follow is refused, and an order is kept from the first command on that needs it', async () => {
  const { redis, lend, run, answer, sent } = lenderOf()
  const handle = lend()
  for (const name of ['get', 'unwatch']) {
    run(handle, name, 'a')
    answer('OK')
  }
  assert.equal(loanOf(handle).order, undefined)
  run(handle, 'hello', '3')
  answer('OK')
  assert.notEqual(loanOf(handle).order, undefined)
  const refused = new Promise((_, reject) => handle.subscribe('news', reject as never).catch(() => {}))
  assert.match((await rejection(refused)).message, /^SUBSCRIBE was not sent: .* behind HELLO\./)
  assert.equal(sent.length, 0)
  run(handle, 'get', 'a')
  assert.equal(sent.length, 1)
  redis.disconnect()
})
