import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { runUnread } from '../support/log-pipe/unread.ts'
import { makePipe, type Pipe } from '../support/pipe.ts'

const CHILD = join(import.meta.dirname, 'log-output-child.js')
const SINK = join(import.meta.dirname, '../../src/runtime/log/log-sink.js')
const skip = process.platform === 'linux' ? false : 'needs the pipes of Linux'
const CYCLES = process.env.LIFEGUARD_LONG ? 1_000_000 : 200_000

interface Counts {
  readonly written: number
  readonly dropped: number
  readonly waiting: number
  readonly rss: number
}

/** Runs the child, and asks for what has come through stderr while it runs. */
async function run(
  args: readonly (string | number)[],
  stderr: number | 'pipe',
  read: (() => string) | undefined,
  readMillis = 1,
): Promise<{ counts: Counts; text: string; code: number | null }> {
  const child = spawn(process.execPath, [CHILD, ...args.map(String)], { stdio: ['ignore', 'pipe', stderr] })
  let out = ''
  let text = ''
  child.stdout?.on('data', chunk => {
    out += chunk
  })
  child.stderr?.on('data', chunk => {
    text += chunk
  })
  let code: number | null | undefined
  child.on('close', ended => {
    code = ended
  })
  const limit = performance.now() + 90_000
  while (code === undefined) {
    assert.ok(performance.now() < limit, 'the child did not end by itself')
    if (read !== undefined) text += read()
    await pause(readMillis)
  }
  for (let rest = read?.(); rest; rest = read?.()) text += rest
  return { counts: JSON.parse(out.trim()) as Counts, text, code }
}

/** Reads what is there, at most so many bytes. */
function readerOf(fd: number, most: number): () => string {
  const bytes = Buffer.alloc(most)
  return () => {
    try {
      return bytes.toString('utf8', 0, readSync(fd, bytes))
    } catch {
      return ''
    }
  }
}

/** Every line is there in order, or counted as dropped in its place. @returns how many there are of each */
function checkOrder(text: string): { seen: number; missing: number } {
  let seen = 0
  let missing = 0
  for (const line of text.split('\n').slice(0, -1)) {
    const gap = /^… (\d+) lines dropped$/.exec(line)?.[1]
    if (gap !== undefined) missing += Number(gap)
    else {
      assert.equal(line, String(seen + missing).padStart(99, '0'))
      seen += 1
    }
  }
  return { seen, missing }
}

async function withPipe(body: (pipe: Pipe) => Promise<void>): Promise<void> {
  const pipe = makePipe()
  try {
    await body(pipe)
  } finally {
    pipe.close()
  }
}

/** What is stuck says nothing for so long; a busy machine may keep what is not from it for some of the time. */
const SILENCE_MILLIS = 3000

describe('stderr', { skip }, () => {
  test('is a pipe that nobody reads: all loans are served, memory stays flat, the process ends by itself', () =>
    withPipe(async ({ fd }) => {
      const { ended, lastWord } = await runUnread('guarded', CYCLES, 30_000, fd)
      assert.ok(ended, 'it had to be killed')
      assert.equal(lastWord?.done, CYCLES)
      assert.ok(lastWord.highestMiB < 150, `${lastWord.highestMiB} MiB`)
      assert.equal(lastWord.queuedMiB, 0)
    }))

  test('is a socket that nobody reads: all loans are served, memory stays flat, the process ends by itself', async () => {
    const { ended, lastWord } = await runUnread('guarded', CYCLES, 30_000, 'socket')
    assert.ok(ended, 'it had to be killed')
    assert.equal(lastWord?.done, CYCLES)
    assert.ok(lastWord.highestMiB < 150, `${lastWord.highestMiB} MiB`)
    assert.equal(lastWord.queuedMiB, 0)
  })

  test('is a pipe that nobody reads: output through process.stderr cannot end, which is what the sink is for', () =>
    withPipe(async ({ fd }) => {
      const { ended, lastWord } = await runUnread('plain', 50_000, SILENCE_MILLIS, fd)
      assert.equal(ended, false)
      assert.equal(lastWord?.done, 50_000)
      assert.ok(lastWord.queuedMiB >= 2, `${lastWord.queuedMiB} MiB`)
    }))

  test('is a pipe that nobody reads: a synchronous logger stops the loop for good', () =>
    withPipe(async ({ fd }) => {
      const { ended, lastWord } = await runUnread('sync', 50_000, SILENCE_MILLIS, fd)
      assert.equal(ended, false)
      assert.equal(lastWord?.done, 0)
    }))

  test('is a pipe with a slow reader: order is kept, and written + dropped = said, to the line', () =>
    withPipe(async ({ fd, reader }) => {
      const { counts, text, code } = await run([40_000, 400, 1], fd, readerOf(reader, 4096), 2)
      const { seen, missing } = checkOrder(text)
      assert.equal(code, 0)
      assert.ok(missing > 1000, `${missing} dropped`)
      assert.equal(seen, counts.written)
      assert.equal(counts.written + counts.dropped + counts.waiting, 40_000)
      // What was still in memory as the process ended is gone unsaid only if the reader was too slow to the last.
      assert.equal(seen + missing + counts.waiting, 40_000)
    }))

  test('is a socket with a slow reader: order is kept, and what arrives is counted', async () => {
    const { counts, text, code } = await run([40_000, 4000, 1], 'pipe', undefined)
    const { seen, missing } = checkOrder(text)
    assert.equal(code, 0)
    assert.equal(seen, counts.written)
    assert.equal(seen + missing + counts.waiting, 40_000)
  })

  test('is a socket that nobody reads, of a process with a worker thread: that ends, too, and may speak first', async () => {
    const code = `
      import { Worker, isMainThread } from 'node:worker_threads'
      import { LogSink } from ${JSON.stringify(pathToFileURL(SINK).href)}
      if (isMainThread) {
        await new Promise(resolve => new Worker(new URL('data:text/javascript,' + encodeURIComponent(process.env.CODE))).on('exit', resolve))
      }
      const sink = new LogSink()
      for (let index = 0; index < 20_000; index += 1) {
        sink.write('x'.repeat(99) + '\\n')
        if (index % 100 === 0) await new Promise(resolve => setImmediate(resolve))
      }
      const { written, dropped, waiting } = sink
      console.log(JSON.stringify({ written, dropped, waiting }))`
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, CODE: code },
    })
    let out = ''
    child.stdout.on('data', chunk => {
      out += chunk
    })
    const limit = setTimeout(() => child.kill('SIGKILL'), 60_000)
    // Not 'close', which waits for a stderr that nobody reads; nor 'exit' alone: what it said may still be in the pipe.
    const [[status]] = await Promise.all([once(child, 'exit'), once(child.stdout, 'end')])
    clearTimeout(limit)
    child.stderr.destroy()
    assert.equal(status, 0, `it had to be killed, after ${out}`)
    const [worker, main] = out
      .trim()
      .split('\n')
      .map(each => JSON.parse(each) as Counts)
    assert.ok((worker?.written ?? 0) > 0, out)
    for (const counts of [worker, main]) {
      assert.equal((counts?.written ?? 0) + (counts?.dropped ?? 0) + (counts?.waiting ?? 0), 20_000)
    }
  })

  for (const [end, status] of [
    ['falls', 0],
    ['exits', 0],
    ['throws', 1],
  ] as const) {
    test(`loses nothing when the process ends (${end}), with a reader that keeps up`, () =>
      withPipe(async ({ fd, reader }) => {
        const { counts, text, code } = await run([500, 500, 0, end], fd, readerOf(reader, 65_536), 1)
        assert.equal(code, status)
        assert.deepEqual([counts.written, counts.dropped, counts.waiting], [500, 0, 0])
        assert.deepEqual(checkOrder(text.replace(/^(?!\d{99}$).*\n/gm, '')), { seen: 500, missing: 0 })
      }))
  }

  test('is a file: every line is there, in order', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lifeguard-'))
    const fd = openSync(join(folder, 'log'), 'w')
    const { counts } = await run([20_000, 20_000, 0], fd, undefined)
    closeSync(fd)
    assert.equal(counts.written, 20_000)
    assert.deepEqual(checkOrder(readFileSync(join(folder, 'log'), 'utf8')), { seen: 20_000, missing: 0 })
    rmSync(folder, { recursive: true })
  })

  test('is a pipe whose reader has gone: no signal, no error, and the process ends', async () => {
    const script = `{ sleep 0.3; exec ${process.execPath} ${CHILD} 2000 10 1; } 2>&1 >&3 | true`
    const out = execFileSync('sh', ['-c', `{ ${script}; } 3>&1`], { encoding: 'utf8', timeout: 30_000 })
    const counts = JSON.parse(out) as Counts
    assert.equal(counts.written, 0)
    assert.equal(counts.dropped + counts.waiting, 2000)
  })

  test('a terminal gets every line, and keeps blocking for others who write to it', t => {
    try {
      execFileSync('script', ['--version'])
    } catch {
      t.skip('needs script(1) of util-linux')
      return
    }
    const flags = `process.stdout.write(fs.readFileSync('/proc/self/fdinfo/2','latin1').match(/flags:\\s*(\\d+)/)[1])`
    const inner = `${process.execPath} ${CHILD} 300 50 0 >/dev/null; ${process.execPath} -e "${flags}"`
    const out = execFileSync('script', ['-qec', inner, '/dev/null'], { encoding: 'utf8', timeout: 30_000 })
    const lines = out.replaceAll('\r', '').split('\n')
    const flag = Number.parseInt(lines.at(-1) || (lines.at(-2) ?? ''), 8)
    assert.deepEqual(checkOrder(`${lines.slice(0, 300).join('\n')}\n`), { seen: 300, missing: 0 })
    assert.equal(flag & 0o4000, 0, 'the terminal was made non-blocking')
  })
})
