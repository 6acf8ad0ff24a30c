import assert from 'node:assert/strict'
import { channel } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { serveDiagnostics } from '../../src/diagnostics/index.ts'
import type { PoolStats } from '../../src/index.ts'
import { CountingFactory, eventually } from '../support/factories.ts'
import { open } from '../support/pools.ts'
import { Chance, seedFrom } from '../support/random.ts'
import { raw } from './raw-request.ts'

const folder = mkdtempSync(join(tmpdir(), 'lifeguard-fuzz-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** Of the stats, what asking must not change. Stalls and times are the machine's. */
const facts = ({
  size,
  idle,
  borrowed,
  pending,
  generation,
  totals,
  destroyedBy,
  max,
  min,
  state,
}: PoolStats) => ({
  ...{ size, idle, borrowed, pending, generation, totals, destroyedBy, max, min, state },
})

const METHODS = [
  'GET',
  'GET',
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'get',
  'G\0T',
  '',
]
const PATHS = [
  ...['/', '/report', '/metrics', '/healthz', '/live.json', '/timeline.json', '/favicon.ico'],
  ...[
    '//',
    '/../report',
    '/%2e%2e/etc/passwd',
    '/report/',
    '/constructor',
    '/__proto__',
    '*',
    'http://evil.example/',
    '',
  ],
]
const QUERIES = [
  ...[
    '',
    '?',
    '?pool=fuzzed',
    '?pool=%00',
    '?pool=<script>alert(1)</script>',
    '?format=json',
    '?format=text&format=json',
  ],
  ...[
    '?seconds=-1',
    '?seconds=1e400',
    '?seconds=NaN',
    '?seconds=0.01',
    '?seconds=601',
    '?pool=%E0%A4%A',
    '?__proto__[x]=1',
  ],
]
const ACCEPTS = [
  '*/*',
  'text/html',
  'text/html;q=0',
  'application/json',
  'text/plain',
  ',,,;;;',
  'text/html'.repeat(300),
]

test('whatever is asked, in whatever way, changes nothing: no pool, no listener, and no answer holds markup that was sent', async t => {
  const chance = new Chance(seedFrom('LIFEGUARD_SEED'))
  t.diagnostic(`LIFEGUARD_SEED=${chance.seed}`)
  const pool = open(new CountingFactory(), { name: 'fuzzed', max: 3, acquireTimeoutMillis: 60_000 })
  const held = await Promise.all([1, 2, 3].map(() => pool.acquire()))
  const waiting = pool.acquire()
  await using server = await serveDiagnostics({ path: join(folder, 'fuzz.sock') })
  const before = facts(pool.stats())
  const slow: Socket[] = []
  for (let round = 0; round < 150; round += 1) {
    const long = chance.oneIn(10) ? 'a'.repeat(chance.below(40_000)) : ''
    const head = `${chance.pick(METHODS)} ${chance.pick(PATHS)}${chance.pick(QUERIES)}${long} HTTP/1.1\r\n`
    const request = `${head}host: x\r\naccept: ${chance.pick(ACCEPTS)}\r\nconnection: close\r\n\r\n`
    if (chance.oneIn(20) && slow.length < 6) {
      // A client that stops in the middle, and stays.
      const socket = connect(server.address)
      slow.push(socket.on('error', () => {}))
      socket.write(request.slice(0, chance.below(request.length)))
      continue
    }
    const cut = chance.oneIn(10) ? chance.below(request.length) : request.length
    const answer = await raw(server.address, request.slice(0, cut))
    if (answer === '') continue
    assert.match(answer, /^HTTP\/1\.1 (?:200|400|401|404|405|414|431|503) /, head)
    const isPage = /content-type: text\/html/i.test(answer)
    assert.equal(isPage, isPage && /content-security-policy: default-src 'none'/i.test(answer), head)
    assert.ok(!answer.includes('<script>alert(1)'), head)
  }
  assert.deepEqual(facts(pool.stats()), before)
  for (const socket of slow) socket.destroy()
  await eventually(() => !channel('lifeguard-pool:state').hasSubscribers)
  assert.match(
    await raw(server.address, 'GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'),
    /^HTTP\/1\.1 200 /,
  )
  for (const connection of held) await pool.release(connection)
  await pool.release(await waiting)
})
