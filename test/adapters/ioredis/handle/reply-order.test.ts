/* Which command may not follow which other one: without a server. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Command, CommandQueue } from '../../../../src/adapters/ioredis/client/client-types.ts'
import { isPlain, isRedisCommand } from '../../../../src/adapters/ioredis/handle/command-effects.ts'
import { nameOf, ReplyOrder } from '../../../../src/adapters/ioredis/handle/reply-order.ts'

const waiting = (...names: (string | undefined)[]): CommandQueue => ({
  length: names.length,
  peekAt: index => (names[index] === undefined ? {} : { command: { name: names[index] } }),
})
const NOBODY = waiting()

/** Sends these one after the other, each answered. @returns why the last one must not be sent */
function last(...names: string[]): string | undefined {
  const order = new ReplyOrder()
  return names.map(name => order.conflict(name, NOBODY)).at(-1)
}

test('an order is kept from the first command on whose reply others depend', () => {
  const isNeededFor = (words: string): boolean => {
    const [name = '', ...args] = words.split(' ')
    return ReplyOrder.isNeededFor({ name, args } as unknown as Command)
  }
  for (const words of [
    'CLIENT REPLY',
    'client reply off',
    'HELLO 3',
    'reset',
    'Monitor',
    'SUBSCRIBE',
    'sunsubscribe',
  ])
    assert.equal(isNeededFor(words), true, words)
  for (const words of ['get', 'CLIENT', 'client list', 'PING', 'QUIT', 'exec'])
    assert.equal(isNeededFor(words), false, words)
})

test('nothing may follow MONITOR, and no subscription a change of the replies', () => {
  assert.equal(last('MONITOR', 'GET'), 'MONITOR')
  assert.equal(last('MONITOR'), undefined)
  for (const change of ['CLIENT REPLY', 'HELLO', 'RESET']) {
    assert.equal(last(change, 'SUBSCRIBE'), change)
    assert.equal(last(change, 'PUNSUBSCRIBE'), change)
    assert.equal(last(change, 'GET'), undefined)
  }
  assert.equal(last('HELLO', 'RESET', 'SUBSCRIBE'), 'HELLO', 'the first one is named')
  assert.equal(last('GET', 'SUBSCRIBE'), undefined)
})

test('the end of one kind of subscription may not follow another kind that it does not count', () => {
  for (const [begun, end, conflict] of [
    ['SSUBSCRIBE', 'UNSUBSCRIBE', 'SSUBSCRIBE'],
    ['SSUBSCRIBE', 'PUNSUBSCRIBE', 'SSUBSCRIBE'],
    ['SUBSCRIBE', 'SUNSUBSCRIBE', 'SUBSCRIBE'],
    ['PSUBSCRIBE', 'SUNSUBSCRIBE', 'PSUBSCRIBE'],
    ['SUBSCRIBE', 'UNSUBSCRIBE', undefined],
    ['SUBSCRIBE', 'PUNSUBSCRIBE', undefined],
    ['SSUBSCRIBE', 'SUNSUBSCRIBE', undefined],
    ['SSUBSCRIBE', 'SUBSCRIBE', undefined],
  ] as const)
    assert.equal(last(begun, end), conflict, `${end} behind ${begun}`)
})

test('only harmless commands may follow a subscription that has no answer yet', () => {
  const order = new ReplyOrder()
  const queue = waiting('get', undefined, 'subscribe')
  assert.equal(order.conflict('GET', queue), 'SUBSCRIBE, which has no answer yet')
  for (const name of ['SUBSCRIBE', 'PSUBSCRIBE', 'PING', 'QUIT'])
    assert.equal(order.conflict(name, queue), undefined, name)
  assert.equal(order.conflict('GET', waiting('get', undefined)), undefined)
  assert.equal(
    order.conflict('PING X', queue),
    'SUBSCRIBE, which has no answer yet',
    'its reply is that text',
  )
})

test('a command is named with its subcommand where that decides what comes back', () => {
  const named = (name: string, ...args: unknown[]): string => nameOf({ name, args } as unknown as Command)
  assert.equal(named('client', 'reply', 'off'), 'CLIENT REPLY')
  assert.equal(named('CLIENT', Buffer.from('Reply')), 'CLIENT REPLY')
  assert.equal(named('ping'), 'PING')
  assert.equal(named('ping', 'x'), 'PING X')
  assert.equal(named('hello', '3'), 'HELLO')
})

test('a plain command leaves nothing and has no passwords; the commands of scripts are not those of Redis itself', () => {
  for (const [name, plain, own] of [
    ['get', true, true],
    ['GET', false, true],
    ['config', false, true],
    ['auth', false, true],
    ['multi', false, true],
    ['Select', false, true],
    ['monitor', false, true],
    ['eval', true, false],
    ['FCALL', false, false],
    ['mine', false, false],
  ] as const) {
    assert.equal(isPlain(name), plain, name)
    assert.equal(isRedisCommand(name), own, name)
  }
})
