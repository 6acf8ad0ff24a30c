import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { top } from '../../src/cli/top/command.ts'
import { reportHandler } from '../../src/diagnostics/index.ts'
import type { PoolReport } from '../../src/diagnostics/pool-report.ts'
import { countSockets } from '../support/fds.ts'
import { run, Started } from './support.ts'

const CHILD = fileURLToPath(new URL('./pools-child.js', import.meta.url))
const skip = process.platform === 'win32' ? 'top asks by Unix sockets' : false
const noProc = process.platform === 'linux' ? false : 'finds the inspector in /proc'

const folder = mkdtempSync(join(tmpdir(), 'lifeguard-top-'))
const service = new Started(process.execPath, [CHILD])
before(() => service.word)
after(async () => {
  await service.kill()
  rmSync(folder, { recursive: true, force: true })
})

describe('top without a terminal', { skip, concurrency: 2 }, () => {
  test('prints the pools of a process once, without a colour', async () => {
    const said = await run('top', String(service.pid))
    assert.equal(said.code, 0, said.stderr)
    assert.match(said.stdout, new RegExp(`^lifeguard-pool top  .*pid ${service.pid}\\).*3 pools`))
    assert.match(said.stdout, /^>cache .* 5\/8 /m)
    assert.match(said.stdout, /^ orders .* 2\/2 +3 /m)
    assert.match(said.stdout, /FORGOTTEN\? +forgetsSession \(cli\/pools-child/)
    assert.match(said.stdout, /2× GET +holdsOrders/)
    assert.doesNotMatch(said.stdout, /[^\P{Cc}\n]/u)
  })

  test('by the path of the socket, and as JSON', async () => {
    const said = await run('top', await service.word, '--json')
    assert.equal(said.code, 0, said.stderr)
    const reports = JSON.parse(said.stdout) as PoolReport[]
    assert.deepEqual(
      reports.map(({ stats }) => stats.name),
      ['cache', 'orders', 'sessions'],
    )
    assert.equal(reports[1]?.leases.length, 2)
  })

  test('asks a process that serves nothing by its inspector, and closes that again', {
    skip: noProc,
  }, async () => {
    const bare = new Started(process.execPath, ['--inspect-port=0', CHILD, 'no socket'])
    try {
      await bare.word
      const refused = await run('top', String(bare.pid))
      assert.equal(refused.code, 2)
      assert.match(
        refused.stderr,
        /serves no diagnostics at .*lifeguard-pool-\d+\.sock: call serveDiagnostics/,
      )
      const said = await run('top', String(bare.pid), '--inspect', '--once')
      assert.equal(said.code, 0, said.stderr)
      assert.match(said.stdout, /^ orders .* 2\/2 /m)
      assert.equal(countSockets(bare.pid)?.tcp.LISTEN, undefined)
    } finally {
      await bare.kill()
    }
  })

  test('brings the token that a server wants, and says so where there is none', async () => {
    const token = new Started(process.execPath, [CHILD, 'token', 'a-token'])
    try {
      const path = await token.word
      const refused = await run('top', path)
      assert.equal(refused.code, 2)
      assert.match(refused.stderr, /wants its token: --token/)
      const said = await run('top', path, '--token', 'a-token')
      assert.equal(said.code, 0, said.stderr)
      assert.match(said.stdout, /3 pools/)
    } finally {
      await token.kill()
    }
  })

  test('by a URL, where the handler is mounted in a server of the service', async () => {
    const server = createServer(reportHandler()).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    try {
      const said = await run('top', `http://127.0.0.1:${port}`, '--once')
      assert.equal(said.code, 0, said.stderr)
      assert.match(said.stdout, /There is no pool in this process/)
    } finally {
      server.close()
    }
  })

  test('says what is not there, and what is no report', async () => {
    const other = createServer((_request, response) => response.end('{"hello": 1}'))
    const path = join(folder, 'other.sock')
    other.listen(path)
    await once(other, 'listening')
    try {
      for (const [args, why] of [
        [[path], /answers with something that is no report/],
        [[join(folder, 'nothing.sock')], /nothing\.sock does not exist/],
        [[CHILD], /(?:is no socket|is served by nobody)/],
        [[String(2 ** 22 + 1)], /there is no process/],
        [['0'], /there is no process/],
        [[path, '--inspect'], /needs the id of a process/],
        [[], /needs one process/],
        [['1', '2'], /needs one process/],
        [['1', '--often'], /--often/],
      ] as const) {
        await assert.rejects(top(args), why, args.join(' '))
      }
    } finally {
      other.close()
    }
    assert.match((await top(['--help'])).text, /--once/)
  })
})
