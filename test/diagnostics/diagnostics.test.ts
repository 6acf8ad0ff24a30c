import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, readSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { allReports, installReportSignal, reportAll } from '../../src/diagnostics/index.ts'
import type { PoolReport } from '../../src/diagnostics/pool-report.ts'
import { livePools } from '../../src/diagnostics/registry.ts'
import { createPool } from '../../src/index.ts'
import { eventually } from '../support/factories.ts'
import { makePipe } from '../support/pipe.ts'

const skip = process.platform === 'win32' ? 'needs signals' : false

async function withChild(
  args: readonly string[],
  stderr: 'pipe' | number,
  body: (child: ChildProcess, port: number) => Promise<void>,
): Promise<void> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'child.js'), ...args], {
    stdio: ['ignore', 'pipe', stderr],
  })
  try {
    const [port] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
    await body(child, Number(port))
  } finally {
    child.kill('SIGKILL')
  }
}

function get(
  port: number,
  path: string,
  options: { method?: string; headers?: Record<string, string> } = {},
): Promise<{ status: number; type: string; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, ...options }, response => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', chunk => {
        body += chunk
      })
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response
        resolve({ status, type: headers['content-type'] ?? '', body })
      })
    })
    asked.on('error', reject)
    asked.end()
  })
}

describe('the report of a live process', { skip }, () => {
  test('comes on a signal, to stderr, with all pools', () =>
    withChild([], 'pipe', async child => {
      let text = ''
      child.stderr?.on('data', chunk => {
        text += chunk
      })
      child.kill('SIGUSR2')
      await eventually(() => text.includes("pool 'idle'"), { within: 10_000 })
      assert.match(text, /report of process \d+: 2 pools, up \d+ s/)
      assert.match(text, /All 1 connections are lent, and 1 acquires wait/)
    }))

  test('comes on a signal, to a file that is appended to', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lifeguard-'))
    const file = join(folder, 'report.txt')
    const count = (): number => {
      try {
        return readFileSync(file, 'utf8').split("pool 'full'").length - 1
      } catch {
        return 0
      }
    }
    await withChild([file], 'pipe', async child => {
      child.kill('SIGUSR2')
      await eventually(() => count() === 1, { within: 10_000 })
      child.kill('SIGUSR2')
      await eventually(() => count() === 2, { within: 10_000 })
    })
    rmSync(folder, { recursive: true })
  })

  test('comes although stderr is a full pipe that nobody has read, and the process goes on', {
    skip: process.platform === 'linux' ? false : 'needs the pipes of Linux',
  }, async () => {
    const pipe = makePipe()
    try {
      // What a child process of ours would inherit must be full before it starts.
      execFileSync('sh', ['-c', 'head -c 65536 /dev/zero'], { stdio: ['ignore', pipe.fd, 'inherit'] })
      await withChild([], pipe.fd, async (child, port) => {
        child.kill('SIGUSR2')
        assert.equal((await get(port, '/')).status, 200)
        let text = ''
        const bytes = Buffer.alloc(65_536)
        await eventually(
          () => {
            try {
              text += bytes.toString('utf8', 0, readSync(pipe.reader, bytes))
            } catch {
              // Nothing there yet.
            }
            return text.includes("pool 'idle'")
          },
          { within: 10_000 },
        )
      })
    } finally {
      pipe.close()
    }
  })

  test('comes over HTTP as text and as JSON, for all pools or one', () =>
    withChild([], 'pipe', async (_, port) => {
      const text = await get(port, '/')
      assert.equal(text.status, 200)
      assert.match(text.type, /^text\/plain/)
      assert.match(text.body, /pool 'full'[\s\S]*pool 'idle'/)
      const json = await get(port, '/?format=json&pool=full')
      const reports = JSON.parse(json.body) as PoolReport[]
      assert.deepEqual(
        reports.map(report => [report.stats.name, report.waiters.length]),
        [['full', 1]],
      )
      const asked = await get(port, '/', { headers: { accept: 'application/json' } })
      assert.match(asked.type, /^application\/json/)
      assert.equal((await get(port, '/', { method: 'POST' })).status, 405)
      assert.equal((await get(port, '/', { method: 'HEAD' })).body, '')
    }))
})

test('the list of pools keeps no pool alive, and does not grow with those that are gone', async () => {
  const factory = { create: async () => ({}), destroy: async () => {} }
  for (let index = 0; index < 1000; index += 1) createPool(factory, { name: 'passing' })
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  await eventually(() => {
    collect()
    return livePools().filter(pool => pool.name === 'passing').length < 1000
  })
})

test('a name chooses among pools, and an unknown one gives none', async () => {
  const factory = { create: async () => ({}), destroy: async () => {} }
  const pool = createPool(factory, { name: 'chosen' })
  assert.equal(allReports('chosen').length, 1)
  assert.equal(reportAll('chosen').length, 2)
  assert.deepEqual(allReports('nobody'), [])
  await pool.close()
})

test('installing the signal twice reports twice, and taking it back leaves no listener', () => {
  const before = process.listenerCount('SIGUSR2')
  const takeBack = installReportSignal()
  assert.equal(process.listenerCount('SIGUSR2'), before + 1)
  takeBack()
  assert.equal(process.listenerCount('SIGUSR2'), before)
  assert.throws(() => installReportSignal('SIGUSR2', { file: '' }), TypeError)
  assert.throws(() => installReportSignal('NOPE' as 'SIGUSR2'), /NOPE is not a signal/)
})
