/* What a lender says of the loans of one client, and undoes behind them: without a server. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ownerOf } from '../../../../src/adapters/ioredis/handle/client-lender.ts'
import { rejection } from '../versions.ts'
import { HOME, lenderOf, replyError } from './scripted-client.ts'

/** Commands that stand in the queue of the client without an answer. */
const queueOf = (redis: object, ...names: (string | undefined)[]): void => {
  const { commandQueue } = redis as { commandQueue: { push(item: object): void; clear(): void } }
  commandQueue.clear()
  for (const name of names) commandQueue.push(name === undefined ? {} : { command: { name } })
}

test('a handle knows its owner as long as the loan lasts, and nothing else does', () => {
  const { lend, giveBack } = lenderOf()
  const owner = {}
  const handle = lend(owner)
  assert.equal(ownerOf(handle), owner)
  assert.equal(ownerOf(Object.create(handle)), owner)
  giveBack(handle)
  const throwing = new Proxy(
    {},
    {
      get() {
        throw new Error('not today')
      },
    },
  )
  for (const other of [handle, {}, null, undefined, 1, throwing]) assert.equal(ownerOf(other), undefined)
})

test('a loan of plain commands leaves nothing, and has no session', () => {
  const { lender, lend, run, giveBack, answer } = lenderOf()
  assert.equal(lender.isLent, false)
  const handle = lend()
  assert.equal(lender.isLent, true)
  run(handle, 'get', 'a')
  answer('b')
  assert.deepEqual(lender.use, {})
  assert.equal(giveBack(handle), undefined)
  assert.equal(lender.isLent, false)
})

test('what a loan has begun or waits for is told while it lasts', () => {
  for (const [names, wanted] of [
    [['monitor'], { awaits: 'MONITOR' }],
    [['multi'], { open: 'MULTI' }],
    [['watch'], { open: 'WATCH' }],
    [['watch', 'multi'], { open: 'MULTI' }],
    [['multi', 'asking'], { open: 'MULTI' }],
    [['asking'], {}],
  ] as const) {
    const { lender, lend, run, answer, giveBack, scripted } = lenderOf()
    const handle = lend()
    for (const name of names) {
      run(handle, name, 'x')
      answer('OK')
    }
    assert.deepEqual(lender.use, wanted, String(names))
    giveBack(handle)
    assert.deepEqual(lender.use, {})
    scripted.condition = { select: HOME, subscriber: {} }
    assert.deepEqual(lender.use, { awaits: 'messages of a subscription' })
    scripted.condition = null
    assert.deepEqual(lender.use, {})
  }
})

test('what cannot be undone is named, with the commands that have no answer', () => {
  for (const [names, pending, subscriber, left, detail] of [
    [['monitor'], [], false, 'MONITOR', 'left behind: MONITOR'],
    [['watch', 'monitor'], [], true, 'MONITOR', 'left behind: MONITOR, WATCH'],
    [[], ['get'], false, 'unanswered', 'left behind: 1 without an answer (GET)'],
    [[], ['get', 'get', 'set', 'del'], true, 'unanswered', 'left behind: 4 without an answer (GET, SET)'],
    [[], [undefined], false, 'unanswered', 'left behind: 1 without an answer (UNDEFINED)'],
    [['asking'], ['get'], false, 'ASKING', 'left behind: ASKING, 1 without an answer (GET)'],
    [[], [], true, 'SUBSCRIBE', 'left behind: SUBSCRIBE'],
    [['watch'], [], true, 'SUBSCRIBE', 'left behind: SUBSCRIBE, WATCH'],
    [[], ['x'.repeat(50)], false, 'unanswered', `left behind: 1 without an answer (${'X'.repeat(40)})`],
  ] as const) {
    const { redis, lend, run, answer, giveBack, scripted } = lenderOf()
    const handle = lend()
    for (const name of names) {
      run(handle, name, 'x')
      answer('OK')
    }
    queueOf(redis, ...pending)
    scripted.condition = { select: HOME, subscriber: subscriber && {} }
    assert.deepEqual(giveBack(handle), { left, detail })
  }
})

test('a reply of the server that condemns the connection costs it, once told to the failover', async () => {
  const { lender, lend, run, answer, giveBack, condemned } = lenderOf()
  const handle = lend()
  for (const message of ['READONLY You cannot write', 'LOADING Redis is loading']) {
    run(handle, 'set', 'a', 'b')
    answer(replyError(message))
  }
  assert.equal(lender.fault, "a reply 'READONLY'")
  assert.deepEqual(condemned, ['READONLY You cannot write'])
  assert.deepEqual(giveBack(handle), {
    left: "a reply 'READONLY'",
    detail: "left behind: a reply 'READONLY'",
  })
})

test('so does one that arrives while nobody has it', () => {
  const { lender, condemned } = lenderOf()
  lender.lost(replyError('MASTERDOWN Link with MASTER is down'))
  assert.deepEqual([lender.fault, condemned.length], ["a reply 'MASTERDOWN'", 1])
})

test('a borrower who has changed the user condemns its own connection alone', () => {
  const { lender, lend, run, answer, condemned } = lenderOf()
  const handle = lend()
  run(handle, 'auth', 'me', 'secret')
  answer('OK')
  run(handle, 'get', 'a')
  answer(replyError('NOAUTH Authentication required.'))
  assert.equal(lender.fault, "a reply 'NOAUTH'")
  assert.deepEqual(condemned, [])
})

test('WATCH and SELECT are undone by their opposite, and each step has to be answered with OK', async () => {
  for (const [names, steps] of [
    [['watch'], ['unwatch']],
    [['select'], ['select']],
    [
      ['watch', 'select'],
      ['unwatch', 'select'],
    ],
  ] as const) {
    for (const reply of ['OK', 'QUEUED']) {
      const { redis, lend, run, answer, giveBack, sent } = lenderOf()
      const handle = lend()
      for (const name of names) {
        run(handle, name, '5')
        answer('OK')
      }
      const left = giveBack(handle)
      const wanted = names.map(name => name.toUpperCase())
      assert.deepEqual([left?.left, left?.detail], [wanted[0], `left behind: ${wanted.join(', ')}`])
      const undone = left?.undo?.()
      assert.deepEqual(
        sent.map(({ name }) => name),
        steps,
      )
      const select = sent.find(({ name }) => name === 'select')
      if (select !== undefined) assert.deepEqual(select.args.map(String), [String(HOME)])
      for (const _ of steps) answer(reply)
      if (reply === 'OK') await undone
      else assert.match((await rejection(undone)).message, /the server answered QUEUED/)
      redis.disconnect()
    }
  }
})

test('a database that ioredis takes for another one is undone, too, and one that is home again is not', () => {
  const { lend, run, answer, giveBack, scripted } = lenderOf()
  const handle = lend()
  run(handle, 'unwatch')
  answer('OK')
  scripted.condition = { select: 5, subscriber: false }
  assert.equal(giveBack(handle)?.left, 'SELECT')
  const next = lend()
  // Home is where it was when it was first lent, whatever is selected as the first command is recorded.
  run(next, 'select', String(HOME))
  answer('OK')
  scripted.condition = { select: HOME, subscriber: false }
  assert.equal(giveBack(next), undefined)
})

test('a client that has lost its state is taken to be where it was made', () => {
  const { lend, run, answer, giveBack, scripted } = lenderOf()
  scripted.condition = null
  const handle = lend()
  run(handle, 'unwatch')
  answer('OK')
  assert.equal(giveBack(handle), undefined)
  assert.equal(giveBack(lend()), undefined)
})

test('a script whose reply looks like that of the wrong server has the server asked, once', async () => {
  for (const role of ['master', 'slave']) {
    const { lend, run, answer, giveBack, sent, condemned } = lenderOf()
    const handle = lend()
    for (const message of ['READONLY from a script', 'LOADING from a script']) {
      run(handle, 'eval', 'x')
      answer(replyError(message))
    }
    assert.deepEqual(condemned, [])
    const left = giveBack(handle)
    assert.deepEqual([left?.left, left?.detail], ["a reply 'READONLY'", "left behind: a reply 'READONLY'"])
    const undone = left?.undo?.()
    await Promise.resolve()
    assert.deepEqual(
      sent.map(({ name }) => name),
      ['INFO', 'ping'],
    )
    answer(`role:${role}\r\n`)
    answer('PONG')
    if (role === 'master') await undone
    else assert.match((await rejection(undone)).message, /^a reply 'READONLY'; the server is a slave$/)
    assert.equal(condemned.length, role === 'master' ? 0 : 1)
    const next = lend()
    assert.equal(giveBack(next), undefined, 'the doubt is over')
  }
})

test('an error inside the reply of an EXEC is looked at: scripts are sent again, a wrong server is asked', () => {
  const { lender, lend, run, answer, giveBack } = lenderOf()
  const handle = lend()
  let forgotten = 0
  lender.definitions.forgetSent = () => {
    forgotten += 1
  }
  const exec = (message: string): void => {
    for (const name of ['multi', 'exec']) run(handle, name)
    answer('OK')
    answer([replyError(message)])
  }
  exec('WRONGTYPE Operation against a key')
  assert.equal(forgotten, 0)
  exec('NOSCRIPT No matching script')
  assert.equal(forgotten, 1)
  exec('READONLY You cannot write')
  assert.equal(forgotten, 1)
  assert.equal(giveBack(handle)?.left, "a reply 'READONLY'")
})

test('the call site that leaves the same thing behind for the second time is reported, with its stack, once', () => {
  for (const [name, left, isPending] of [
    ['monitor', 'MONITOR', false],
    ['get', 'GET without an answer', true],
  ] as const) {
    const { redis, lend, run, answer, giveBack, sites } = lenderOf()
    for (let loan = 1; loan <= 3; loan += 1) {
      const handle = lend()
      run(handle, name)
      if (isPending) queueOf(redis, name)
      else answer('OK')
      giveBack(handle)
      queueOf(redis)
      assert.equal(sites.length, loan === 1 ? 0 : 1, `${name}, loan ${loan}`)
    }
    assert.deepEqual([sites[0]?.left, sites[0]?.times], [left, 2])
    assert.match(sites[0]?.stack ?? '', /client-lender\.test/)
  }
})

test('a node of a cluster is told apart once for each pool, and a guard of the loan may deal with an error first', async () => {
  const { redis, lend, run, answer, giveBack, lender, sent } = lenderOf()
  const warnings: string[] = []
  lender.context.warnOnce = code => void warnings.push(code)
  const handle = lend()
  run(handle, 'get', 'a')
  answer(replyError('MOVED 1 127.0.0.1:1'))
  run(handle, 'get', 'a')
  answer(replyError('ERR other'))
  assert.deepEqual(warnings, ['LIFEGUARD_POOL_CLUSTER'])
  const seen: string[] = []
  const loan = Reflect.ownKeys(handle)
    .map(key => Reflect.get(handle, key))
    .find(value => value?.lender === lender)
  loan.guard = {
    refusal: () => undefined,
    sent: ({ name }: { name: string }) => void seen.push(`sent ${name}`),
    answered: (error: Error) => {
      seen.push(error.message)
      return true
    },
  }
  run(handle, 'get', 'a')
  const [command] = sent
  let settled = false
  const settle = (): void => {
    settled = true
  }
  command?.promise.then(settle, settle)
  answer(replyError('MOVED 2 127.0.0.1:1'))
  assert.deepEqual(seen, ['sent get', 'MOVED 2 127.0.0.1:1'])
  assert.deepEqual([warnings.length, settled], [1, false])
  giveBack(handle)
  sent.length = 0
  const asked = redis.ping()
  answer(replyError('MOVED 3 127.0.0.1:1'))
  assert.match((await rejection(asked)).message, /MOVED 3/, 'while nobody has it')
  assert.equal(warnings.length, 2)
})
