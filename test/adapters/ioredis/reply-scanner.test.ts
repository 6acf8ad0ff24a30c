import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BROKEN, ReplyScanner, TORN } from '../../../src/adapters/ioredis/client/replies/reply-scanner.ts'

/** What servers send, by either protocol, one reply each. */
const REPLIES = [
  '+OK\r\n',
  '+\r\n',
  '-ERR what\r\n',
  ':-12\r\n',
  '$-1\r\n',
  '$0\r\n\r\n',
  '$6\r\n\r\n$-1\r\r\n',
  '*-1\r\n',
  '*0\r\n',
  '*2\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n',
  '*3\r\n*1\r\n*1\r\n$-1\r\n-ERR inner\r\n+a\r\n',
  '_\r\n',
  '#t\r\n',
  ',1.5e-7\r\n',
  ',-inf\r\n',
  '(3492890328409238509324850943850943825024385\r\n',
  '=8\r\ntxt:text\r\n',
  '!5\r\nERR x\r\n',
  '%2\r\n+a\r\n%0\r\n+b\r\n~1\r\n_\r\n',
  '~0\r\n',
  '>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n',
]

/** The ends of the replies, read in these pieces. */
function endsOf(pieces: readonly Buffer[]): number[] {
  const scanner = new ReplyScanner()
  const ends: number[] = []
  let before = 0
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      const end = scanner.next(piece, at)
      if (end === TORN) break
      assert.notEqual(end, BROKEN, scanner.fault)
      ends.push(before + end)
      at = end
    }
    before += piece.length
  }
  return ends
}

describe('the end of a reply', () => {
  const all = Buffer.from(REPLIES.join(''), 'latin1')
  let sum = 0
  const expected = REPLIES.map(reply => {
    sum += reply.length
    return sum
  })

  test('is not missed, wherever what a server sends is torn', () => {
    assert.deepEqual(endsOf([all]), expected)
    assert.deepEqual(endsOf([...all].map(byte => Buffer.from([byte]))), expected)
    for (let at = 1; at < all.length; at += 1)
      assert.deepEqual(endsOf([all.subarray(0, at), all.subarray(at)]), expected, `torn at ${at}`)
  })

  test('is not looked for within a text, however long it is', () => {
    const text = Buffer.from(`*1\r\n$200000\r\n${'\r\n$-1\r\n*'.repeat(25_000)}\r\n:1\r\n`)
    assert.deepEqual(endsOf([text]), [text.length - 4, text.length])
    assert.deepEqual(endsOf([text.subarray(0, 100_000), text.subarray(100_000)]), [
      text.length - 4,
      text.length,
    ])
  })
})

describe('the beginning of a reply', () => {
  const read = (text: string): ReplyScanner => {
    const scanner = new ReplyScanner()
    for (const byte of Buffer.from(text)) scanner.next(Buffer.from([byte]), 0)
    return scanner
  }

  test('tells a message and its nulls, also in pieces', () => {
    const message = read('>4\r\n$8\r\npmessage\r\n_\r\n$-1\r\n*-1\r\n')
    assert.deepEqual(
      [message.isPush, message.isList, message.size, message.word],
      [true, true, 4, 'pmessage'],
    )
    assert.deepEqual(
      [0, 1, 2, 3].map(index => message.hasNullAt(index)),
      [false, true, true, true],
    )
  })

  test('is of the list itself, not of one within it, nor of the reply before', () => {
    const scanner = read('*1\r\n_\r\n*2\r\n*1\r\n$-1\r\n+subscribe\r\n')
    assert.deepEqual([scanner.word, scanner.hasNullAt(0), scanner.hasNullAt(1)], [undefined, false, false])
  })
})

describe('what is no reply', () => {
  const broken = [
    'HTTP/1.1 400\r\n',
    '\r\n',
    '$\r\n',
    '$-2\r\n',
    '$--1\r\n',
    '$1-\r\n',
    '$1x\r\n',
    '$1\n',
    '$1\rx',
    '$1\r\nab',
    '+a\rb',
    '*4294967296\r\n',
    '%2147483648\r\n',
    '*9999999999999999\r\n',
    '*1\r\n>0\r\n',
    '~-1\r\n',
    '!-1\r\n',
    '|1\r\n',
    '$?\r\n',
    '_x\r\n',
    '#x\r\n',
    ',x\r\n',
    ',infinite\r\n',
    '*1\r\n'.repeat(501),
  ]
  for (const text of broken)
    test(`${JSON.stringify(text.slice(0, 20))} is seen to be none, and said why`, () => {
      const scanner = new ReplyScanner()
      assert.equal(scanner.next(Buffer.from(`+OK\r\n${text}`), 5), BROKEN)
      assert.notEqual(scanner.fault, '')
    })
})
