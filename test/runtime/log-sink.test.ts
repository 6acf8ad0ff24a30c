import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LogSink } from '../../src/runtime/log/log-sink.ts'
import type { Outlet } from '../../src/runtime/log/output.ts'
import { FakeClock } from '../support/clock.ts'

/** An outlet with as much room as the test gives it. */
class Pipe implements Outlet {
  room = 0
  text = ''

  write(bytes: Uint8Array): number {
    const taken = Math.min(this.room, bytes.length)
    this.room -= taken
    this.text += Buffer.from(bytes.subarray(0, taken)).toString('latin1')
    return taken
  }

  get lines(): string[] {
    return this.text.split('\n').slice(0, -1)
  }
}

function sinkWith(room: number, maxBytes = 4096) {
  const clock = new FakeClock()
  const pipe = new Pipe()
  pipe.room = room
  return { clock, pipe, sink: new LogSink({ maxBytes }, '', clock, pipe) }
}

const line = (index: number): string => `${String(index).padStart(99, '0')}\n`
const told = (lines: readonly string[]): number =>
  lines.reduce((sum, each) => sum + Number(/^… (\d+) lines dropped$/.exec(each)?.[1] ?? 0), 0)

/** As Buffer's latin1 shows it, one character a byte. */
const plain = (lines: readonly string[]): string[] => lines.map(each => each.replace(/^â\S* /, '… '))

test('a line is written at once where there is room, so that nothing is lost in a crash', () => {
  const { pipe, sink } = sinkWith(Number.POSITIVE_INFINITY)
  assert.equal(sink.write('one\n'), true)
  assert.equal(pipe.text, 'one\n')
  assert.deepEqual([sink.written, sink.waiting, sink.dropped], [1, 0, 0])
})

test('nobody reads: memory stays bounded, and every line is either waiting or counted as dropped', () => {
  const { pipe, sink } = sinkWith(0)
  for (let index = 0; index < 100_000; index += 1) sink.write(line(index))
  assert.equal(sink.waiting, 40)
  assert.equal(sink.dropped, 100_000 - 40)
  assert.equal(pipe.text, '')
})

test('a slow reader sees every line in order, or how many are missing in their place', async () => {
  const { clock, pipe, sink } = sinkWith(0)
  let said = 0
  for (let round = 0; round < 500; round += 1) {
    for (let count = 0; count < (round * 7) % 40; count += 1) {
      sink.write(line(said))
      said += 1
    }
    pipe.room += (round * 131) % 900
    await clock.advance(round % 50)
  }
  pipe.room = Number.POSITIVE_INFINITY
  await clock.advance(1000)
  assert.equal(sink.waiting, 0)
  assert.ok(sink.dropped > 100, `${sink.dropped}`)
  assert.equal(sink.written + sink.dropped, said)
  let expected = 0
  for (const each of plain(pipe.lines)) {
    const missing = told([each])
    if (missing > 0) expected += missing
    else {
      assert.equal(Number(each), expected)
      expected += 1
    }
  }
  assert.equal(expected, said)
})

test('a chunk that a pipe takes only in part is continued, not repeated and not torn by later lines', async () => {
  const { clock, pipe, sink } = sinkWith(50)
  sink.write(line(1))
  sink.write(line(2))
  pipe.room = 70
  await clock.advance(20)
  pipe.room = 1000
  await clock.advance(1000)
  assert.equal(pipe.text, line(1) + line(2))
  assert.equal(sink.written, 2)
})

test('a line longer than the whole ring is dropped and does not stop those behind it', async () => {
  const { clock, pipe, sink } = sinkWith(Number.POSITIVE_INFINITY)
  assert.equal(sink.write('x'.repeat(5000)), false)
  await clock.advance(1000)
  assert.equal(sink.write('after\n'), true)
  assert.deepEqual(plain(pipe.lines), ['… 1 lines dropped', 'after'])
})

test('a full outlet is tried again more and more seldom, by a timer that is set only while something waits', async () => {
  const { clock, pipe, sink } = sinkWith(0)
  sink.write('waits\n')
  await clock.advance(60_000)
  assert.ok(clock.timersSet < 200, `${clock.timersSet}`)
  pipe.room = 100
  await clock.advance(400)
  assert.equal(pipe.text, 'waits\n')
  assert.equal(clock.pending, 0)
})

test('a sink is not made from nonsense', () => {
  assert.throws(() => new LogSink({ fd: 3 as 2 }), RangeError)
  assert.throws(() => new LogSink({ maxBytes: Number.NaN }), RangeError)
})

test('a hundred sinks that wait for room have one listener for the end of the process', () => {
  const listeners = (): number => process.listenerCount('exit') + process.listenerCount('beforeExit')
  const { sink: first } = sinkWith(0)
  first.write('waits\n')
  const before = listeners()
  const waiting = Array.from({ length: 100 }, () => sinkWith(0))
  for (const { sink } of waiting) sink.write('waits\n')
  assert.equal(listeners(), before)
})
