// What a report may meet: text that breaks lines in its own way, files that others have put there, clients that do not read.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  linkSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { findingsIn } from '../../src/diagnostics/findings.ts'
import { reportHandler } from '../../src/diagnostics/index.ts'
import { createPool } from '../../src/index.ts'
import { appendNow } from '../../src/runtime/log/output.ts'
import { eventually } from '../support/factories.ts'
import { packageRoot } from '../support/package-root.ts'
import { rejection } from '../support/rejection.ts'

const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'lifeguard-report-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** What a process writes to stderr for its report signal, with a pool of that name. It has 20 s for that. */
async function reportOf(name: string): Promise<string> {
  const code = `
    const { createPool } = require('lifeguard-pool')
    const { installReportSignal } = require('lifeguard-pool/diagnostics')
    const pool = createPool({ create: async () => ({}), destroy: async () => {} }, { name: ${name} })
    installReportSignal()
    process.kill(process.pid, 'SIGUSR2')
    setTimeout(() => {}, 300)`
  const options = { cwd: packageRoot(), timeout: 60_000, maxBuffer: 8_000_000 }
  return (await run(process.execPath, ['--input-type=commonjs', '-e', code], options)).stderr
}

test('nothing is dropped from a report, whatever ends a line in it', async () => {
  for (const end of ['\\r', '\\r\\n', '\\u2028', '\\n\\n']) {
    const text = await reportOf(`'before${end}after'`)
    assert.match(text, /pool 'before/)
    assert.match(text, /after' is open/)
  }
})

test('a long line in a report does not block the event loop', async () => {
  const text = await reportOf(`'x'.repeat(200_000) + '\\\\rend'`)
  assert.ok(text.includes('xxxx') && text.includes("end' is open"), text.slice(0, 200))
})

test('what a server says in its errors reaches no terminal as a command, and nothing of it is lost', async () => {
  const said = 'before\0 \u001b[2J\u009b31m \r\u0007after, and then\tmore\nlines'
  const create = (): never => {
    throw new Error(said)
  }
  const pool = createPool({ create, destroy: () => {} }, { max: 1, acquireTimeoutMillis: 100 })
  await rejection(pool.acquire())
  const text = pool.report()
  assert.ok(text.includes('before\\x00 \\x1b[2J\\x9b31m \\r\\x07after, and then\tmore\nlines'), text)
  assert.match(text, /^[^\P{Cc}\n\t]*[\P{Cc}\n\t]*$/u)
  await pool.close()
})

test('an error of megabytes is wrapped in a report without a loss, whatever its words are', async () => {
  for (const word of ['a ', 'a. ', `${'long'.repeat(50)} `, 'x']) {
    const said = word.repeat(2 ** 20 / word.length)
    const create = (): never => {
      throw new Error(said)
    }
    const pool = createPool({ create, destroy: () => {} }, { max: 1, acquireTimeoutMillis: 100 })
    await rejection(pool.acquire())
    const text = pool.report()
    assert.ok(text.replaceAll('\n      ', ' ').includes(said.trim()))
    const [, wrapped = ''] = / {2}findings[^\n]*\n([\s\S]*?)\n {2}\S/.exec(text) ?? []
    const longest = wrapped.split('\n').reduce((most, line) => Math.max(most, line.length), 0)
    assert.ok(longest <= (word.trim().length > 100 ? word.length + 6 : 118) || word === 'x', `${longest}`)
    await pool.close()
  }
})

describe('a report file', { skip: process.platform === 'win32' ? 'needs the files of Unix' : false }, () => {
  test('is made for its user alone, and one that others could read is made so', () => {
    const made = join(folder, 'made.txt')
    appendNow(made, 'one\n')
    assert.equal(statSync(made).mode & 0o777, 0o600)
    const open = join(folder, 'open.txt')
    writeFileSync(open, 'zero\n')
    chmodSync(open, 0o644)
    appendNow(open, 'one\n')
    assert.equal(readFileSync(open, 'utf8'), 'zero\none\n')
    assert.equal(statSync(open).mode & 0o777, 0o600)
  })

  test('that is a device is written to, and stays open to everybody: it is the system, not a file', () => {
    const modeOf = (): number => statSync('/dev/null').mode & 0o777
    const before = modeOf()
    try {
      appendNow('/dev/null', 'report\n')
      assert.equal(modeOf(), before)
    } finally {
      if (modeOf() !== before) chmodSync('/dev/null', before)
    }
  })

  test('that is a named pipe with a reader is written to as it is, and one without a reader is refused', async () => {
    const pipe = join(folder, 'pipe')
    await run('mkfifo', ['-m', '640', pipe])
    assert.throws(() => appendNow(pipe, 'report\n'), /ENXIO/)
    const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
    appendNow(pipe, 'report\n')
    assert.equal(readFileSync(reader, 'utf8').slice(0, 7), 'report\n')
    closeSync(reader)
    assert.equal(statSync(pipe).mode & 0o777, 0o640)
  })

  test('that is a link to another one, by name or by inode, is refused, and the other one is left as it is', () => {
    const other = join(folder, 'other.txt')
    writeFileSync(other, 'mine\n')
    symlinkSync(other, join(folder, 'link.txt'))
    symlinkSync(join(folder, 'not yet there.txt'), join(folder, 'dangling.txt'))
    linkSync(other, join(folder, 'hard.txt'))
    for (const name of ['link.txt', 'dangling.txt', 'hard.txt'])
      assert.throws(() => appendNow(join(folder, name), 'report\n'), Error)
    assert.equal(readFileSync(other, 'utf8'), 'mine\n')
    assert.throws(() => statSync(join(folder, 'not yet there.txt')))
  })

  test('that belongs to somebody else is refused', {
    skip: process.geteuid?.() === 0 ? false : 'only root can give a file away',
  }, () => {
    const theirs = join(folder, 'theirs.txt')
    writeFileSync(theirs, '')
    chownSync(theirs, 12_345, 12_345)
    assert.throws(() => appendNow(theirs, 'report\n'), /belongs to another user/)
    assert.equal(readFileSync(theirs, 'utf8'), '')
  })
})

test('reports do not pile up in memory for clients that do not read: beyond a few, others are refused until they have gone', async () => {
  const factory = { create: async () => ({}), destroy: async () => {} }
  // A report that no socket buffer holds.
  const pools = Array.from({ length: 40 }, (_, index) =>
    createPool(factory, { name: `${index} ${'long '.repeat(40_000)}`, autostart: false }),
  )
  const server = createServer(reportHandler()).listen(0, '127.0.0.1')
  await eventually(() => server.listening)
  const { port } = server.address() as AddressInfo
  const ask = (): Socket => {
    const socket = connect(port, '127.0.0.1')
      .pause()
      .on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    return socket
  }
  const status = async (): Promise<number> => (await fetch(`http://127.0.0.1:${port}/?pool=nobody`)).status
  const deaf = Array.from({ length: 20 }, ask)
  try {
    await eventually(async () => (await status()) === 503, { within: 10_000 })
    for (const socket of deaf) socket.destroy()
    await eventually(async () => (await status()) === 200, { within: 10_000 })
  } finally {
    for (const socket of deaf) socket.destroy()
    server.closeAllConnections()
    server.close()
    await Promise.all(pools.map(pool => pool.close()))
  }
})

test('a quarter of a million who wait, and a loop that was blocked: the report has its findings', async () => {
  const pool = createPool({ create: () => ({}), destroy: () => {} }, { max: 1 })
  const held = await pool.acquire()
  const report = pool.reportJson()
  const waiter = { waitedMillis: 1000, leftMillis: 1000, priority: 0 }
  const waiters = Array.from({ length: 250_000 }, () => waiter) as unknown as typeof report.waiters
  const stalls = [{ millis: 900, agoMillis: 50 }]
  assert.match(findingsIn({ ...report, waiters, stalls }).join(), /event loop was blocked for 900 ms/)
  await pool.release(held)
  await pool.close()
})
