import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { colours, cut, cutStart, plain, time, width } from '../../src/cli/top/cells.ts'
import { History } from '../../src/cli/top/history.ts'
import { linesOf, type TopModel } from '../../src/cli/top/view.ts'
import type { PoolReport } from '../../src/diagnostics/pool-report.ts'
import { createPool } from '../../src/index.ts'

const idle = createPool({ create: () => ({}), destroy: () => {} }, { max: 1 }).reportJson()

/** A report with some values of its own. */
function reportOf(
  name: string,
  stats: Partial<PoolReport['stats']> = {},
  more: Partial<PoolReport> = {},
): PoolReport {
  return { ...idle, ...more, stats: { ...idle.stats, name, max: 10, ...stats } }
}

const lease = (connection: number, heldMillis: number, where: string, more: object = {}) => ({
  ...{ connection, loan: 1, heldMillis, suspect: false, busy: true },
  ...{ stack: `    at ${where} (file:///srv/app/src/${where}.js:12:3)`, ...more },
})

const BUSY = reportOf(
  'cache',
  { borrowed: 8, idle: 1, connecting: 1, pending: 3, oldestWaitMillis: 1234 },
  {
    findings: [
      'The server is silent: 8 of the 8 lent connections wait for an answer, the longest (GET on #1) for 61000 ms',
    ],
    leases: [
      lease(1, 61_000, 'getUser', { command: 'GET' }),
      ...Array.from({ length: 6 }, (_, index) => lease(index + 2, 5000 - index, 'getOrder')),
      lease(9, 3, 'forgets', { suspect: true, busy: false }),
    ],
    troubles: [{ what: 'an acquire timed out', times: 5, agoMillis: 3000 }],
    stalls: [{ agoMillis: 100, millis: 40 }],
  },
)

function modelOf(reports: readonly PoolReport[], more: Partial<TopModel> = {}): TopModel {
  const pools = new History().add(reports, 0)
  return { what: 'node (pid 7)', pools, selected: 0, page: 'all', asOf: '12:00:00', isLive: true, ...more }
}

const SIZES = [
  { columns: 80, rows: 24 },
  { columns: 120, rows: 40 },
  { columns: 40, rows: 10 },
  { columns: 20, rows: 5 },
  { columns: 1, rows: 1 },
  { columns: 300, rows: 3 },
]

const MANY = Array.from({ length: 50 }, (_, index) =>
  reportOf(`pool number ${index}`, { borrowed: index % 10 }),
)

describe('whatever the size of the terminal', () => {
  const models = {
    'no pool': modelOf([]),
    'a sick pool': modelOf([BUSY]),
    'a sick pool, its holders': modelOf([BUSY], { page: 'holders' }),
    'a sick pool, its events': modelOf([BUSY], { page: 'events' }),
    'fifty pools': modelOf(MANY, { selected: 37 }),
    'a selection that is no longer there': modelOf([BUSY], { selected: 12 }),
    'no answer': modelOf([BUSY], { trouble: 'NO ANSWER FOR 12 s' }),
  }
  for (const [what, model] of Object.entries(models))
    test(`no line is too long and none too many: ${what}`, () => {
      for (const size of SIZES) {
        const lines = linesOf(model, size, plain)
        assert.ok(lines.length <= size.rows, `${lines.length} lines of ${size.rows}`)
        for (const line of lines)
          assert.ok(width(line) <= size.columns, `${width(line)} > ${size.columns}: ${line}`)
      }
    })

  test('names of others, wide or hostile, neither move the cursor nor break the columns', () => {
    const names = [
      '\u001b[2J\r\n\t\u0007',
      '日本語のプール名はとても長いのです',
      'e\u0301'.repeat(30),
      '👍'.repeat(20),
      '\u202eabc',
    ]
    const reports = names.map(name =>
      reportOf(
        name,
        {},
        {
          leases: [lease(1, 5, name)],
          troubles: [{ what: `${name}\u001b]0;x\u0007`, times: 1, agoMillis: 1 }],
        },
      ),
    )
    for (const selected of names.keys())
      for (const size of SIZES) {
        const lines = linesOf(modelOf(reports, { selected }), size, plain)
        for (const line of lines) {
          assert.doesNotMatch(line, /[\p{Cc}\u202e]/u)
          assert.ok(width(line) <= size.columns, line)
        }
      }
  })
})

test('80 × 24 has the pools, the slots, the waiters, the cause, the holders by call site, and what happened', () => {
  const lines = linesOf(modelOf([BUSY, reportOf('orders')]), { columns: 80, rows: 24 }, plain)
  const text = lines.join('\n')
  assert.equal(lines.length, 24)
  assert.match(lines[0] ?? '', /node \(pid 7\) {2}2 pools {2}12:00:00/)
  assert.match(text, /^>cache .* 8\/10 +3 +1\.23 s +1 /m)
  assert.match(text, /^ orders .* 0\/10 +0 +- /m)
  assert.match(text, /^\[█{8}░\+\]$/m)
  assert.match(text, /^max 10: 8 lent, 1 idle, 1 being created$/m)
  assert.match(text, /^3 wait, the oldest for 1\.23 s/m)
  assert.match(text, /The server is silent/)
  assert.match(text, /61 s +1× GET +getUser \(src\/getUser\.js:12:3\)/)
  assert.match(text, /5 s +6× at work +getOrder \(src/)
  assert.match(text, /3 ms +1× FORGOTTEN\? +forgets \(src/)
  assert.match(text, /100 ms ago the event loop was blocked for 40 ms/)
  assert.match(text, /3 s ago 5× an acquire timed out/)
  assert.match(lines.at(-1) ?? '', /q quit/)
})

test('40 × 10 still has what matters: who waits, since when, and the keys', () => {
  const text = linesOf(modelOf([BUSY]), { columns: 40, rows: 10 }, plain).join('\n')
  assert.match(text, /^>cache +8\/10 +3 +1\.23 s/m)
  assert.match(text, /3 wait, the oldest for 1\.23 s/)
  assert.match(text, /findings/)
  assert.match(text, /↑ ↓ pool/)
})

test('of many pools the one that is selected is in sight', () => {
  for (const selected of [0, 10, 37, 49]) {
    const text = linesOf(modelOf(MANY, { selected }), { columns: 80, rows: 24 }, plain).join('\n')
    assert.match(text, new RegExp(`^>pool number ${selected} `, 'm'))
  }
})

test('a page of its own shows all holders that fit, and how many more there are', () => {
  const leases = Array.from({ length: 500 }, (_, index) => lease(index, 1000 - index, `site${index}`))
  const report = reportOf('p', { borrowed: 500 }, { leases })
  const lines = linesOf(modelOf([report], { page: 'holders' }), { columns: 80, rows: 24 }, plain)
  assert.match(lines.join('\n'), /500 leases of p, by call site/)
  assert.equal(lines.filter(line => /site\d+\.js/.test(line)).length, 18)
  assert.match(lines.join('\n'), /… 482 more/)
})

test('a pool of ten thousand fits on its strip, and what is rare there has its sign', () => {
  const report = reportOf('p', { max: 10_000, borrowed: 9000, idle: 500, closing: 1 })
  const lines = linesOf(modelOf([report]), { columns: 80, rows: 24 }, plain)
  const strip = lines.find(line => line.startsWith('['))
  assert.match(strip ?? '', /^\[█{70,72}░{3,5}x·{1,5}\]$/)
})

test('printed once, it is as long as it needs to be, and has no keys', () => {
  const size = { columns: 80, rows: Number.POSITIVE_INFINITY }
  const lines = linesOf(modelOf([BUSY, ...MANY], { isLive: false }), size, plain)
  assert.equal(lines.filter(line => line.startsWith(' pool number')).length, 50)
  assert.doesNotMatch(lines.join('\n'), /q quit/)
})

test('colours change nothing but the colours', () => {
  const coloured = linesOf(modelOf([BUSY]), { columns: 80, rows: 24 }, colours)
  const bare = coloured.map(line => stripVTControlCharacters(line))
  assert.deepEqual(bare, linesOf(modelOf([BUSY]), { columns: 80, rows: 24 }, plain))
  assert.ok(coloured.some(line => line.includes('\u001b[1;31m')))
})

test('waits and rates are those of the last minute', () => {
  const history = new History()
  const at = (acquired: number, counts: number[]): PoolReport =>
    reportOf('p', {
      totals: { ...idle.stats.totals, acquired },
      times: {
        ...idle.stats.times,
        wait: { count: acquired, sumMillis: 1, maxMillis: 80, bounds: [1, 10, 100], counts },
      },
    })
  const [first] = history.add([at(100, [0, 0, 100, 0])], 0)
  assert.deepEqual(first?.wait, { p50: 80, p99: 80 })
  assert.equal(first?.rate, undefined)
  const [second] = history.add([at(300, [200, 0, 100, 0])], 10_000)
  assert.deepEqual(second?.wait, { p50: 1, p99: 1 })
  assert.equal(second?.rate, 20)
  for (let now = 20_000; now < 200_000; now += 10_000) history.add([at(300, [200, 0, 100, 0])], now)
  const [later] = history.add([at(300, [200, 0, 100, 0])], 200_000)
  assert.equal(later?.wait, undefined)
  assert.equal(later?.rate, 0)
  // A pool that is made anew under the same name begins at 0.
  const [anew] = history.add([at(1, [1, 0, 0, 0])], 201_000)
  assert.equal(anew?.rate, undefined)
  // Two pools of one name are two.
  const two = history.add([at(1, [1, 0, 0, 0]), at(50, [50, 0, 0, 0])], 202_000)
  assert.deepEqual(
    two.map(({ rate }) => rate),
    [0, undefined],
  )
})

test('texts are cut by cells, from the end or, for paths, from the start', () => {
  assert.equal(cut('abcdef', 4), 'abc…')
  assert.equal(cut('abcd', 4), 'abcd')
  assert.equal(cut('日本語', 4), '日…')
  assert.equal(cut('abc', 0), '')
  assert.equal(cutStart('src/users.js', 6), '…rs.js')
  assert.deepEqual([0, 0.04, 1.234, 999, 61_000, 7_200_000, 864_000_000].map(time), [
    '0 ms',
    '0 ms',
    '1.2 ms',
    '999 ms',
    '61 s',
    '2 h',
    '10 d',
  ])
})
