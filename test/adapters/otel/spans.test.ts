import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { withRedis } from '../../support/redis.ts'
import type { ServiceFacts, SpanFacts } from './child.ts'

const redis = await withRedis()
after(() => redis.stop())
const { skip } = redis

async function service(mode: 'auto' | 'all' | 'waited'): Promise<ServiceFacts> {
  const child = fileURLToPath(new URL('./child.js', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', child, redis.url, mode], {
    timeout: 30_000,
    maxBuffer: 1 << 24,
  })
  return JSON.parse(stdout) as ServiceFacts
}

const named = (spans: readonly SpanFacts[], name: string | RegExp): SpanFacts[] =>
  spans.filter(span => (typeof name === 'string' ? span.name === name : name.test(span.name)))

test('with auto-instrumentation alone, no acquire of generic-pool is left as a root without a request', {
  skip,
}, async () => {
  const { spans, created } = await service('auto')
  assert.equal(created, 3)
  assert.deepEqual(
    spans.filter(({ name }) => name.includes('acquire')).map(({ name }) => name),
    [],
  )
  const roots = spans.filter(({ parent }) => parent === undefined).map(({ name }) => name)
  assert.deepEqual(
    roots.filter(name => !/^(?:request \d+|late|after)$/.test(name)),
    [],
  )
  for (const request of named(spans, /^request/))
    assert.equal(
      spans.filter(({ parent, name }) => parent === request.id && name === 'get').length,
      1,
      request.name,
    )
})

test('each request has one acquire span under it, and nothing is an orphan', { skip }, async () => {
  const { spans } = await service('all')
  const acquires = named(spans, 'lifeguard-pool.acquire')
  const requests = named(spans, /^(?:request \d+|late|after)$/)
  assert.equal(requests.length, 14)
  for (const request of requests) {
    assert.equal(acquires.filter(({ parent }) => parent === request.id).length, 1, request.name)
  }
  assert.equal(acquires.length, requests.length)
  assert.deepEqual(
    spans
      .filter(({ parent }) => parent === undefined)
      .map(({ name }) => name)
      .sort(),
    requests.map(({ name }) => name).sort(),
  )
  const [first] = acquires
  assert.equal(first?.attributes['db.client.connection.pool.name'], 'cache')
  assert.equal(first?.attributes['db.system.name'], 'redis')
  assert.equal(typeof first?.attributes['server.port'], 'number')
  assert.equal(first?.attributes['lifeguard.call'], 'use')
})

test('by default only those have a span that waited or failed; a timeout names the holders', {
  skip,
}, async () => {
  const { spans } = await service('waited')
  const acquires = named(spans, 'lifeguard-pool.acquire')
  const of = (name: string): SpanFacts | undefined => {
    const [request] = named(spans, name)
    return acquires.find(({ parent }) => parent === request?.id)
  }
  assert.equal(of('after'), undefined)
  assert.ok(acquires.length > 3 && acquires.length < 14, `${acquires.length}`)
  for (const { attributes, millis } of acquires)
    assert.ok(Math.abs(millis - (attributes['lifeguard.waited'] as number) * 1000) < 1, `${millis}`)
  const late = of('late')
  assert.equal(late?.error, true)
  assert.equal(late?.attributes['error.type'], 'POOL_ACQUIRE_TIMEOUT')
  assert.ok((late?.millis ?? 0) >= 199, `${late?.millis}`)
  const [event] = late?.events ?? []
  assert.equal(event?.name, 'lifeguard-pool.holders')
  const holders = event?.attributes['lifeguard.holders']
  assert.ok(Array.isArray(holders) && holders.length === 3)
})
