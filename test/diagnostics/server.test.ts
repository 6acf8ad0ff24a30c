import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { serveDiagnostics } from '../../src/diagnostics/index.ts'
import { CountingFactory, eventually, scripted } from '../support/factories.ts'
import { packageRoot } from '../support/package-root.ts'
import { open } from '../support/pools.ts'
import { rejection } from '../support/rejection.ts'

const folder = mkdtempSync(join(tmpdir(), 'lifeguard-diagnostics-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const pathOf = (name: string): string => join(folder, name)

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

function ask(address: string, path: string, options: RequestOptions = {}): Promise<Answer> {
  const where = address.startsWith('http')
    ? { host: new URL(address).hostname, port: new URL(address).port }
    : { socketPath: address }
  return new Promise((resolve, reject) => {
    const asked = request({ ...where, path, agent: false, ...options }, response => {
      let body = ''
      response.setEncoding('utf8').on('data', part => {
        body += part
      })
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }))
    })
    asked.on('error', reject).end()
  })
}

test('metrics, health and reports are told on a Unix socket that only its owner can reach', async () => {
  const pool = open(new CountingFactory(), { name: 'served', max: 1 })
  await pool.use(() => {})
  await using server = await serveDiagnostics({ path: pathOf('a.sock') })
  assert.equal(server.address, pathOf('a.sock'))
  assert.equal(statSync(server.address).mode & 0o777, 0o600)
  const metrics = await ask(server.address, '/metrics')
  assert.equal(metrics.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  assert.match(metrics.body, /^db_client_connection_max\{db_client_connection_pool_name="served"\} 1$/m)
  const health = await ask(server.address, '/healthz?verbose')
  assert.equal(health.status, 200)
  const { ok, pools } = JSON.parse(health.body)
  assert.equal(ok, true)
  assert.equal(pools.find((each: { pool: string }) => each.pool === 'served').breaker, 'closed')
  assert.match((await ask(server.address, '/report')).body, /pool 'served' is open/)
  assert.equal(
    JSON.parse((await ask(server.address, '/report?format=json&pool=served')).body)[0].stats.name,
    'served',
  )
})

test('a health check fails while connecting fails, while somebody waits too long, and while the pool drains', async () => {
  const factory = scripted()
  const pool = open(factory, { name: 'sick', max: 1, acquireTimeoutMillis: 2000 })
  await using server = await serveDiagnostics({ path: pathOf('b.sock'), maxWaitMillis: 20 })
  const isOk = async (): Promise<boolean> => {
    const { status, body } = await ask(server.address, '/healthz')
    const { ok, pools } = JSON.parse(body)
    assert.equal(status, ok ? 200 : 503)
    assert.equal(
      ok,
      pools.every((each: { ok: boolean }) => each.ok),
    )
    return ok
  }
  const held = await pool.acquire()
  assert.equal(await isOk(), true)
  const waiting = pool.acquire()
  await eventually(async () => !(await isOk()))
  await pool.release(held)
  await pool.release(await waiting)
  assert.equal(await isOk(), true)
  factory.onCreate.always({ rejects: new Error('refused') })
  await pool.destroy(await pool.acquire())
  const failing = rejection(pool.acquire())
  await failing
  assert.equal(pool.stats().breaker, 'open')
  assert.equal(await isOk(), false)
  await pool.close()
  assert.equal(await isOk(), true)
  const leaving = open(new CountingFactory(), { name: 'leaving' })
  const last = await leaving.acquire()
  const drained = leaving.drain()
  assert.equal(await isOk(), false)
  await leaving.release(last)
  await drained
  await leaving.close()
  assert.equal(await isOk(), true)
})

test('GET alone is answered, and only for what there is', async () => {
  await using server = await serveDiagnostics({ path: pathOf('c.sock') })
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH']) {
    const { status, headers } = await ask(server.address, '/report', { method })
    assert.deepEqual([status, headers.allow], [405, 'GET'], method)
  }
  for (const path of ['/', '/metrics/', '/report/..', '/favicon.ico', '//metrics', '/healthz%00'])
    assert.equal((await ask(server.address, path)).status, 404, path)
})

test('TCP needs a token, or the loopback and a local name', async () => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.com', '127.0.0.1.example.com']) {
    const refused = await rejection(serveDiagnostics({ port: 0, host }))
    assert.equal(refused.code, 'POOL_BAD_OPTIONS', host)
  }
  assert.equal((await rejection(serveDiagnostics({ port: 1.5, path: 'x', token: '' }))).issues?.length, 3)
  await using local = await serveDiagnostics({ port: 0 })
  assert.match(local.address, /^http:\/\/127\.0\.0\.1:\d+$/)
  assert.equal((await ask(local.address, '/healthz')).status, 200)
  // A page in a browser, by a name of its own that leads to the loopback.
  assert.equal((await ask(local.address, '/report', { headers: { host: 'evil.example' } })).status, 403)
  await using guarded = await serveDiagnostics({ port: 0, host: '0.0.0.0', token: 's3cret' })
  const url = guarded.address.replace('0.0.0.0', '127.0.0.1')
  for (const authorization of [undefined, 'Bearer wrong', 's3cret', 'Bearer s3cret ', 'bearer s3cret'])
    assert.equal(
      (await ask(url, '/report', { headers: authorization ? { authorization } : {} })).status,
      authorization === 'Bearer s3cret ' ? 200 : 401,
    )
  assert.equal((await ask(url, '/report', { headers: { authorization: 'Bearer s3cret' } })).status, 200)
})

test('a socket that a killed process left is replaced; one in use and a file are not touched', async () => {
  const path = pathOf('d.sock')
  const code = `
    const { serveDiagnostics } = require('lifeguard-pool/diagnostics')
    serveDiagnostics({ path: ${JSON.stringify(path)} }).then(() => process.kill(process.pid, 'SIGKILL'))`
  const dying = spawn(process.execPath, ['--input-type=commonjs', '-e', code], { cwd: packageRoot() })
  await once(dying, 'exit')
  assert.ok(existsSync(path))
  const first = await serveDiagnostics({ path })
  assert.equal((await ask(path, '/healthz')).status, 200)
  await assert.rejects(serveDiagnostics({ path }), /in use by another process/)
  assert.equal((await ask(path, '/healthz')).status, 200)
  await first.close()
  assert.ok(!existsSync(path))
  const file = pathOf('notes.txt')
  writeFileSync(file, 'mine')
  await assert.rejects(serveDiagnostics({ path: file }), /not a socket/)
  assert.equal(readFileSync(file, 'utf8'), 'mine')
})

test('the server keeps no process alive, and leaves no socket behind', async () => {
  const code = `
    const { serveDiagnostics } = require('lifeguard-pool/diagnostics')
    const { get } = require('node:http')
    serveDiagnostics().then(({ address }) => {
      get({ socketPath: address, path: '/healthz' }, response => response.resume().on('end', () => console.log(address)))
    })`
  const child = spawn(process.execPath, ['--input-type=commonjs', '-e', code], {
    cwd: packageRoot(),
    timeout: 60_000,
  })
  let told = ''
  child.stdout.setEncoding('utf8').on('data', part => {
    told += part
  })
  const [status] = await once(child, 'exit')
  assert.equal(status, 0)
  const address = told.trim()
  assert.match(address, /lifeguard-pool-\d+\.sock$/)
  assert.ok(!existsSync(address))
})

test('readers who never read, and too many of them, do not pile up', async () => {
  const path = pathOf('e.sock')
  const server = await serveDiagnostics({ path })
  const sockets = Array.from({ length: 60 }, () => connect(path))
  let closed = 0
  for (const socket of sockets)
    socket
      .on('error', () => {})
      .on('close', () => (closed += 1))
      .resume()
  await eventually(() => closed >= 60 - 32)
  for (const socket of sockets.slice(0, 5)) socket.write('GET /report HTTP/1.1\r\nhost: x\r\n\r\n')
  await server.close()
  await eventually(() => closed === 60)
})
