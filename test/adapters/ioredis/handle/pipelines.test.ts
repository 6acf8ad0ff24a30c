/* Pipelines, streams of keys and commands of a borrower's own, by the handles of a client without a server. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { Redis } from 'ioredis'
import type { Client } from '../../../../src/adapters/ioredis/client/client-types.ts'
import { bounded } from '../../../../src/adapters/ioredis/handle/pipelines.ts'
import { rejection } from '../versions.ts'
import { guardOf, lenderOf, loanOf, replyError } from './scripted-client.ts'

test('a pipeline that has run is refused as a whole after the loan, and one that has not, command by command', async () => {
  const { lend, giveBack, answer } = lenderOf()
  const handle = lend()
  const [ran, late] = [handle.pipeline().get('a'), handle.pipeline().get('a')]
  const results = ran.exec()
  answer('b')
  assert.deepEqual(await results, [[null, 'b']])
  assert.deepEqual(await ran.exec(), [[null, 'b']], 'as ioredis does')
  giveBack(handle)
  assert.match((await rejection(ran.exec())).message, /pipeline\(\)\.exec was used/)
  const [[error] = []] = (await late.exec()) ?? []
  assert.match(error?.message ?? '', /redis\.get was used/)
})

test('after the loan, a pipeline is refused for the end of the loan, whatever its guard says', async () => {
  const { lend, giveBack } = lenderOf()
  const handle = lend()
  loanOf(handle).guard = guardOf('set')
  const late = handle.pipeline().set('a', 'b')
  giveBack(handle)
  const [[error] = []] = (await late.exec()) ?? []
  assert.match(error?.message ?? '', /redis\.set was used/)
})

test('what is no pipeline, or has no handle any more, is left as ioredis made it', async () => {
  const { redis, lend, answer } = lenderOf()
  const multi = lend().multi({ pipeline: false })
  assert.equal('exec' in multi, false)
  answer('OK')
  const made = [undefined, 1, {}]
  for (const one of made) assert.equal((bounded({ multi: () => one }, 'multi') as () => unknown)(), one)
  assert.deepEqual(Object.keys(made[2] as object), [])
  const pipeline = lend().pipeline()
  Object.assign(pipeline, { redis })
  assert.deepEqual(await pipeline.exec(), [])
})

test('a stream of keys whose reply is none fails, and does not end as if there were no more', async () => {
  for (const [reply, wanted] of [
    [['0', ['a']], /^a$/],
    [['0'], /the reply to SCAN is not a cursor and a list/],
    [[null, ['a']], /not a cursor/],
    [['0', null], /not a cursor/],
    ['OK', /not a cursor/],
    [replyError('ERR no'), /ERR no/],
  ] as const) {
    const { lend, answer } = lenderOf()
    const stream = lend().scanStream()
    const keys: string[] = []
    stream.on('data', (found: string[]) => keys.push(...found))
    const end = Promise.race([once(stream, 'end').then(() => keys.join()), once(stream, 'error')]).catch(
      (error: Error) => error.message,
    )
    await new Promise(resolve => setImmediate(resolve))
    answer(reply)
    const [found] = [await end].flat()
    assert.match(String((found as Error).message ?? found), wanted)
  }
})

test('a command that a borrower defines is its own, and sends the text of the script once for each connection', async () => {
  const { redis, lend, giveBack, sent, answer } = lenderOf()
  const mine = (handle: Redis): (() => Promise<unknown>) | undefined =>
    (handle as unknown as Record<string, () => Promise<unknown>>).mine?.bind(handle)
  const define = (handle: Redis, lua: string, numberOfKeys = 0, readOnly = false): void =>
    handle.defineCommand('mine', { lua, numberOfKeys, readOnly })
  const shaOf = (handle: Redis): unknown =>
    ((handle as unknown as Client).scriptsSet as Record<string, { sha: string }>).mine
  const first = lend()
  assert.equal(mine(first), undefined)
  define(first, 'return 1')
  const script = shaOf(first)
  define(first, 'return 1')
  assert.equal(shaOf(first), script, 'the same again')
  define(first, 'return 2')
  const other = shaOf(first)
  assert.notEqual(other, script)
  define(first, 'return 2', 1)
  assert.notEqual(shaOf(first), other, 'another number of keys')
  const writing = shaOf(first)
  define(first, 'return 2', 1, true)
  const last = shaOf(first)
  assert.notEqual(last, writing, 'one that only reads')
  giveBack(first)
  const second = lend()
  assert.deepEqual([mine(second), shaOf(second)], [undefined, undefined])
  define(second, 'return 2', 1, true)
  assert.equal(shaOf(second), last, 'one script for all loans')
  assert.equal((redis as unknown as Client).scriptsSet.mine, undefined)
  second.defineCommand('other', { lua: 'return 3', numberOfKeys: 0 })
  assert.equal(shaOf(second), last, 'beside another command')
  const names = Object.getOwnPropertyDescriptor(second, 'scriptsSet')
  assert.deepEqual([names?.writable, names?.configurable, names?.enumerable], [true, true, false])
  second.addBuiltinCommand('novel')
  second.addBuiltinCommand('novel2')
  assert.deepEqual(
    ['novel', 'novel2'].map(name => (second as unknown as Client).addedBuiltinSet.has(name)),
    [true, true],
  )
  assert.equal((redis as unknown as Client).addedBuiltinSet.has('novel'), false)
  assert.equal(typeof Reflect.get(second, 'novel'), 'function')
  assert.deepEqual([sent.length, typeof answer], [0, 'function'])
})

test('the scripts of five hundred commands are kept, then all are sent again', () => {
  const { lend } = lenderOf()
  const handle = lend()
  const scriptOf = (name: string): unknown => (handle as unknown as Client).scriptsSet[name]
  const define = (name: string): unknown => {
    handle.defineCommand(name, { lua: 'return 1', numberOfKeys: 0 })
    return scriptOf(name)
  }
  const first = define('first')
  for (let count = 2; count <= 500; count += 1) define(`command${count}`)
  assert.equal(define('first'), first)
  define('one more')
  assert.notEqual(define('first'), first)
})
