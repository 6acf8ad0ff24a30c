/* What the commands of a loan leave behind, by what is sent and what is answered: without a server. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Command } from '../../../../src/adapters/ioredis/client/client-types.ts'
import { onAnswer, SessionState } from '../../../../src/adapters/ioredis/handle/session-state.ts'

interface Sent {
  readonly command: Command
  /** What its caller got. */
  readonly got: unknown[]
}

function commandOf(name: string, ...args: unknown[]): Sent {
  const got: unknown[] = []
  const settle = (reply: unknown): void => void got.push(reply)
  const promise = Promise.resolve()
  return { command: { name, args, resolve: settle, reject: settle, promise }, got }
}

/** An error as ioredis makes it of an error reply. */
const replyError = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' })

/** A connection of database 3, on which a borrower may send `mine` without leaving anything. */
function stateOf() {
  const inner: string[] = []
  const state = new SessionState(3, new Set(['mine']), error => void inner.push(error.message))
  /** Sends a command, and answers it unless there is no answer yet. */
  const send = (name: string, args: readonly unknown[] = [], ...replies: unknown[]): Command => {
    const { command } = commandOf(name, ...args)
    state.sent(command)
    for (const reply of replies) reply instanceof Error ? command.reject(reply) : command.resolve(reply)
    return command
  }
  return { state, send, inner }
}

const CLEAN = { dirt: [], watching: false, elsewhere: false }

test('an answer is told before its caller gets it, and the caller gets it too', () => {
  for (const how of ['resolve', 'reject'] as const) {
    const { command, got } = commandOf('get')
    const told: unknown[] = []
    onAnswer(command, answer => told.push(answer, got.length))
    const answer = new Error('answer')
    command[how](answer)
    assert.deepEqual(told, [answer, 0])
    assert.deepEqual(got, [answer])
  }
})

describe('a transaction', () => {
  test('is open from MULTI until the reply that ends it', () => {
    for (const [end, reply, isOver] of [
      ['exec', [], true],
      ['exec', null, true],
      ['exec', 'QUEUED', false],
      ['exec', replyError('EXECABORT Transaction discarded'), true],
      ['exec', replyError('MOVED 1 a:1'), true],
      ['exec', replyError('ASK 1 a:1'), true],
      ['exec', replyError('ERR EXECABORT'), false],
      ['exec', replyError('ASKING'), false],
      ['exec', new Error('Connection is closed'), false],
      ['exec', new Error('EXECABORT'), false],
      ['exec', new Error('wrapped', { cause: replyError('EXECABORT x') }), true],
      ['discard', 'OK', true],
      ['discard', Buffer.from('OK'), true],
      ['discard', 'QUEUED', false],
      ['discard', replyError('ERR DISCARD without MULTI'), false],
      ['discard', replyError('OK'), false],
    ] as const) {
      const { state, send } = stateOf()
      send('watch', ['key'], 'OK')
      assert.equal(state.sent(commandOf('multi').command), 'MULTI')
      assert.deepEqual(state.left(), { dirt: ['MULTI'], watching: true, elsewhere: false })
      send(end, [], reply)
      const wanted = isOver ? CLEAN : { dirt: ['MULTI'], watching: true, elsewhere: false }
      assert.deepEqual(state.left(), wanted, `${end}: ${reply}`)
    }
  })

  test('that was begun behind the EXEC of another one is still open', () => {
    const { state, send } = stateOf()
    send('multi', [], 'OK')
    const exec = send('exec')
    send('watch', ['key'], 'OK')
    send('multi', [], 'OK')
    exec.resolve([])
    assert.deepEqual(state.left(), { dirt: ['MULTI'], watching: true, elsewhere: false })
    send('exec', [], [])
    assert.deepEqual(state.left(), CLEAN)
  })

  test('tells each error inside its reply, and nothing else', () => {
    const { send, inner } = stateOf()
    send('multi', [], 'OK')
    send('exec', [], ['OK', replyError('WRONGTYPE a'), null, 1, replyError('NOSCRIPT b')])
    send('exec', [], null)
    send('exec', [], replyError('EXECABORT'))
    assert.deepEqual(inner, ['WRONGTYPE a', 'NOSCRIPT b'])
  })
})

describe('a WATCH', () => {
  test('is over with the UNWATCH that was sent behind it and carried out', () => {
    for (const [reply, isOver] of [
      ['OK', true],
      ['QUEUED', false],
      [replyError('ERR'), false],
    ] as const) {
      const { state, send } = stateOf()
      send('watch', ['key'], 'OK')
      send('unwatch', [], reply)
      assert.equal(state.left().watching, !isOver, String(reply))
    }
    const { state, send } = stateOf()
    const unwatch = send('unwatch')
    send('watch', ['key'], 'OK')
    unwatch.resolve('OK')
    assert.equal(state.left().watching, true, 'it was sent behind the UNWATCH')
  })

  test('that the server has refused leaves what was before, and counts where nobody knows', () => {
    const refused = stateOf()
    refused.send('watch', ['key'], replyError('CROSSSLOT'))
    assert.deepEqual(refused.state.left(), CLEAN)
    const unknown = stateOf()
    unknown.send('watch', ['key'], new Error('Command timed out'))
    assert.equal(unknown.state.left().watching, true)
    const earlier = stateOf()
    earlier.send('watch', ['key'], 'OK')
    earlier.send('watch', ['other'], replyError('CROSSSLOT'))
    assert.equal(earlier.state.left().watching, true)
    const later = stateOf()
    const first = later.send('watch', ['key'])
    later.send('watch', ['other'], 'OK')
    first.reject(replyError('CROSSSLOT'))
    assert.equal(later.state.left().watching, true)
  })
})

describe('a SELECT', () => {
  test('leads elsewhere until one of the home database is answered', () => {
    for (const [args, reply, elsewhere] of [
      [[5], 'OK', true],
      [[3], 'OK', false],
      [['3'], Buffer.from('OK'), false],
      [[Buffer.from('3')], 'OK', false],
      [[3], replyError('ERR'), true],
      [[3], 'QUEUED', true],
      [[5], replyError('ERR DB index is out of range'), true],
    ] as const) {
      const { state, send } = stateOf()
      send('select', args, reply)
      assert.deepEqual(state.left(), { ...CLEAN, elsewhere }, `${args}: ${reply}`)
    }
  })

  test('of the home database ends those before it, and none behind it', () => {
    const { state, send } = stateOf()
    send('select', [5], 'OK')
    const home = send('select', [3])
    home.resolve('OK')
    assert.equal(state.left().elsewhere, false)
    const again = send('select', [3])
    send('select', [6])
    again.resolve('OK')
    assert.equal(state.left().elsewhere, true)
  })
})

describe('a command that changes the connection', () => {
  test('is named, five at most and each once, and cannot be undone', () => {
    const { state } = stateOf()
    const names: (string | undefined)[] = []
    for (const name of ['monitor', 'MONITOR', 'asking', 'readonly', 'psync', 'sync', 'debug'])
      names.push(state.sent(commandOf(name).command))
    assert.deepEqual(names, ['MONITOR', 'MONITOR', 'ASKING', 'READONLY', 'PSYNC', 'SYNC', 'DEBUG'])
    assert.deepEqual(state.left().dirt, ['MONITOR', 'ASKING', 'READONLY', 'PSYNC', 'SYNC'])
    state.sent(commandOf('multi').command)
    assert.deepEqual(state.left().dirt.at(-1), 'MULTI')
  })

  test('is told from one that leaves nothing', () => {
    for (const [name, args, what] of [
      ['get', ['a'], undefined],
      ['GET', ['a'], undefined],
      ['mine', [], undefined],
      ['MINE', [], undefined],
      ['json.get', [], undefined],
      ['unsubscribe', [], undefined],
      ['client', ['list'], undefined],
      ['client', ['LIST'], undefined],
      ['client', ['reply', 'off'], 'CLIENT REPLY'],
      ['script', ['load', 'x'], undefined],
      ['script', ['debug', 'yes'], 'SCRIPT DEBUG'],
      ['script', ['flush'], undefined],
      ['novel', [], 'NOVEL (a command that is not known)'],
      ['x'.repeat(50), [], `${'X'.repeat(40)} (a command that is not known)`],
      ['client', ['y'.repeat(50)], `CLIENT ${'Y'.repeat(33)}`],
    ] as const) {
      const { state } = stateOf()
      assert.equal(state.sent(commandOf(name, ...args).command), what, `${name} ${args}`)
      assert.deepEqual(state.left().dirt, what === undefined ? [] : [what])
    }
  })

  test('may have changed the user, by three names', () => {
    for (const [name, isOther] of [
      ['auth', true],
      ['hello', true],
      ['reset', true],
      ['monitor', false],
    ] as const) {
      const { state } = stateOf()
      assert.equal(state.hasChangedUser, false)
      state.sent(commandOf(name).command)
      assert.equal(state.hasChangedUser, isOther, name)
    }
  })
})
