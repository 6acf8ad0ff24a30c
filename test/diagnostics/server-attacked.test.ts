import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { IncomingMessage, ServerResponse } from 'node:http'
import { connect, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { diagnosticsHandler, serveDiagnostics } from '../../src/diagnostics/index.ts'
import { CountingFactory } from '../support/factories.ts'
import { open } from '../support/pools.ts'
import { rejection } from '../support/rejection.ts'
import { raw } from './raw-request.ts'

const folder = mkdtempSync(join(tmpdir(), 'lifeguard-attacked-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const get = (path: string, more = ''): string =>
  `GET ${path} HTTP/1.1\r\nhost: x\r\n${more}connection: close\r\n\r\n`
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])

test('whatever is sent, the server answers with an error or hangs up, and goes on', async () => {
  const path = join(folder, 'raw.sock')
  await using server = await serveDiagnostics({ path })
  open(new CountingFactory(), { name: 'raw' })
  const attacks: [string, string, number[]][] = [
    ['no HTTP', '\x16\x03\x01\x02\x00\x01', [400]],
    ['a huge header', get('/metrics', `x: ${'a'.repeat(100_000)}\r\n`), [431]],
    ['ten thousand headers', get('/metrics', 'a: b\r\n'.repeat(10_000)), [431, 200]],
    ['a huge path', get(`/${'a'.repeat(100_000)}`), [431, 414]],
    ['an absolute form', get('http://evil.example/report'), [404]],
    ['an asterisk', get('*'), [404]],
    ['a method of WebDAV', get('/report').replace('GET', 'PROPFIND'), [405]],
    ['names of Object', get('/__proto__'), [404]],
    ['a broken escape', get('/report?pool=%E0%A4%A'), [200]],
    ['a body', get('/metrics', 'content-length: 5\r\n').concat('hello'), [200]],
    ['a name that is none', get('/report?pool=constructor&format=json'), [200]],
    ['two requests at once', get('/healthz') + get('/healthz'), [200]],
  ]
  for (const [what, bytes, allowed] of attacks) {
    const status = statusOf(await raw(server.address, bytes))
    assert.ok(allowed.includes(status), `${what}: ${status}`)
  }
  assert.equal(statusOf(await raw(path, get('/metrics'))), 200)
})

/** A response whose client never reads it. */
function unread(handler: ReturnType<typeof diagnosticsHandler>, url: string): ServerResponse {
  const request = Object.assign(new IncomingMessage(new Socket()), { method: 'GET', url })
  const response = new ServerResponse(request)
  handler(request, response)
  return response
}

test('clients that never read metrics or reports take neither the memory, nor the health check, nor each other’s place', () => {
  const handler = diagnosticsHandler()
  for (const url of ['/metrics', '/report']) {
    const responses = Array.from({ length: 8 }, () => unread(handler, url))
    assert.deepEqual(new Set(responses.map(({ statusCode }) => statusCode)), new Set([200]))
    assert.equal(unread(handler, url).statusCode, 503)
    assert.equal(unread(handler, '/healthz').statusCode, 200)
    responses[0]?.emit('close')
    assert.equal(unread(handler, url).statusCode, 200)
    assert.equal(unread(handler, url).statusCode, 503)
    for (const response of responses) response.emit('close')
  }
})

test('a token that is missing from the environment opens the handler to nobody', async () => {
  for (const token of [undefined, '', ' ', 'two words', 'näive', 'line\n', 7]) {
    assert.throws(() => diagnosticsHandler({ token } as never), { code: 'POOL_BAD_OPTIONS' }, String(token))
    const refused = await rejection(serveDiagnostics({ port: 0, token } as never))
    assert.equal(refused.code, 'POOL_BAD_OPTIONS', String(token))
  }
  assert.equal(typeof diagnosticsHandler({ token: 'aB3-_~.+/=' }), 'function')
})

test('the socket of a process that is alive, but stopped or overrun, is not taken from it', async () => {
  const path = join(folder, 'stopped.sock')
  const code = `require('node:net').createServer().listen({ path: ${JSON.stringify(path)}, backlog: 1 }, () => console.log('up'))`
  const child = spawn(process.execPath, ['--input-type=commonjs', '-e', code])
  await once(child.stdout, 'data')
  child.kill('SIGSTOP')
  const fillers: Socket[] = []
  try {
    // Until its queue is full, and connecting fails at once.
    let isFull = false
    for (let index = 0; index < 50 && !isFull; index += 1) {
      const socket = connect(path)
      fillers.push(socket)
      isFull = await new Promise(resolve => {
        socket.once('connect', () => resolve(false)).once('error', () => resolve(true))
      })
    }
    assert.ok(isFull)
    await assert.rejects(serveDiagnostics({ path }), /in use by another process/)
    assert.ok(existsSync(path))
  } finally {
    for (const socket of fillers) socket.destroy()
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  await using server = await serveDiagnostics({ path })
  assert.equal(statusOf(await raw(server.address, get('/healthz'))), 200)
})

test('nobody else can reach the socket, not even for a moment after it was made', async () => {
  const path = join(folder, 'private.sock')
  const umask = process.umask(0)
  try {
    const serving = serveDiagnostics({ path })
    // Microtasks alone: the callback of `listen` has not run when the file is there.
    for (let step = 0; step < 1000 && !existsSync(path); step += 1) await null
    assert.equal(statSync(path).mode & 0o077, 0)
    await (await serving).close()
  } finally {
    process.umask(umask)
  }
})
