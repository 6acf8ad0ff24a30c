import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { after, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ChildOutput } from '../support/child-output.ts'
import { withRedis } from '../support/redis.ts'
import type { Redis4Facts } from './redis-4-child.ts'

const LIMIT_MILLIS = 20_000

const redis = await withRedis()
after(() => redis.stop())

test('redis@4 does its isolated work through our pool, and its quit ends the process', {
  skip: redis.skip,
}, async () => {
  const script = fileURLToPath(new URL('./redis-4-child.js', import.meta.url))
  const child = spawn(process.execPath, ['--no-warnings', script, redis.url, redis.key('redis-4:')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output = new ChildOutput(child)
  const over = new AbortController()
  try {
    const ended = await Promise.race([
      output.ended.then(code => `exit code ${code}`),
      pause(LIMIT_MILLIS, 'still running', { signal: over.signal }),
    ])
    assert.equal(ended, 'exit code 0', output.stdout)
  } finally {
    over.abort()
    child.kill('SIGKILL')
  }
  const facts = JSON.parse(output.stdout) as Redis4Facts
  assert.deepEqual(facts, {
    redirected: ['@redis/client/dist/lib/client/index.js'],
    lent: 10,
    undisturbed: ['OK', '11'],
    disturbed: 'WatchError',
    popped: ['item 0', 'item 1', 'item 2', 'item 3', 'item 4', 'item 5'],
    mostConnections: 5,
    failure: 'business',
    quit: 'fulfilled',
  } satisfies Redis4Facts)
})
