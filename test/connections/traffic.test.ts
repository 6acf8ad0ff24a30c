import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { describe, test } from 'node:test'
import { Traffic } from '../../src/connections/traffic.ts'

/** A socket that is only its two counters; without them, one that does not report its bytes. */
const socketOf = (bytesRead?: number, bytesWritten?: number): Socket =>
  ({ bytesRead, bytesWritten }) as unknown as Socket

function started(read = 100, written = 50) {
  const traffic = new Traffic()
  const socket = socketOf(read, written) as { bytesRead: number; bytesWritten: number } & Socket
  traffic.start(socket)
  const pass = (bytesRead: number, bytesWritten: number): void =>
    void Object.assign(socket, {
      bytesRead: socket.bytesRead + bytesRead,
      bytesWritten: socket.bytesWritten + bytesWritten,
    })
  return { traffic, socket, pass }
}

const times = ({ quietSince, lastSeenAt }: Traffic): [number, number] => [quietSince, lastSeenAt]

describe('the traffic of a connection', () => {
  test('of the handshake is not taken for use of the first loan', () => {
    const { traffic, socket } = started()
    assert.equal(traffic.count(socket, 1000, 900), true)
    assert.deepEqual(times(traffic), [0, 0], 'nothing has passed since')
    assert.equal(traffic.quietMillis(socket, 1500, 900), 600)
  })

  test('has an answer only when something was sent, and something received', () => {
    for (const [read, written, answered] of [
      [0, 0, false],
      [5, 0, false],
      [0, 5, false],
      [5, 5, true],
    ] as const) {
      const { traffic, socket, pass } = started()
      pass(read, written)
      assert.equal(traffic.hasAnswered(socket), answered, `${read} read, ${written} written`)
    }
  })

  test('is unknown, and not missing, where the socket does not report its bytes', () => {
    const { traffic, socket } = started()
    assert.equal(traffic.hasAnswered(undefined), undefined)
    assert.equal(traffic.hasAnswered(socketOf()), undefined)
    const blind = new Traffic()
    blind.start(socketOf())
    assert.equal(blind.made, undefined)
    assert.equal(blind.hasAnswered(socket), undefined)
    assert.equal(blind.count(socketOf(), 1000, 900), false)
    assert.equal(blind.quietMillis(socketOf(), 1000, 900), 0, 'as if it were in use')
    assert.deepEqual(times(blind), [0, 0])
  })

  test('lies between the count before, or the start of the loan, and this one', () => {
    const { traffic, socket, pass } = started()
    pass(1, 0)
    traffic.count(socket, 1000, 900)
    assert.deepEqual(times(traffic), [900, 1000], 'since the loan began')
    pass(0, 1)
    traffic.count(socket, 2000, 900)
    assert.deepEqual(times(traffic), [1000, 2000], 'since the last count')
    traffic.count(socket, 3000, 900)
    assert.deepEqual(times(traffic), [1000, 2000], 'nothing new')
    pass(1, 1)
    traffic.count(socket, 4000, 900)
    assert.deepEqual(times(traffic), [3000, 4000])
  })

  test('that was seen to pass now is never dated back by a later count', () => {
    const { traffic, socket, pass } = started()
    pass(7, 7)
    traffic.exchanged(socket, 5000)
    assert.deepEqual(times(traffic), [5000, 5000])
    traffic.count(socket, 6000, 4000)
    assert.deepEqual(times(traffic), [5000, 5000], 'its bytes have been counted')
    const other = new Traffic()
    other.exchanged(undefined, 5000)
    assert.deepEqual(times(other), [5000, 5000], 'without a socket')
  })

  test('in a loan is quiet for as long as nothing passes, and at most for as long as the loan', () => {
    const { traffic, socket, pass } = started()
    pass(1, 1)
    assert.equal(traffic.quietMillis(socket, 1000, 900), 0)
    assert.equal(traffic.quietMillis(socket, 1300, 900), 300)
    assert.equal(traffic.quietMillis(socket, 1300, 1250), 50, 'a later loan')
  })

  test('is counted at the end of a loan at most ten times a second', () => {
    const { traffic, socket, pass } = started()
    traffic.count(socket, 1000, 900)
    pass(1, 1)
    traffic.countAtReturn(socket, 1099, 1000)
    assert.equal(traffic.lastSeenAt, 0)
    traffic.countAtReturn(socket, 1100, 1000)
    assert.equal(traffic.lastSeenAt, 1100)
  })
})
