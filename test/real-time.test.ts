import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { packageRoot } from './support/package-root.ts'

/*
 * A test that sleeps, or measures time, fails on a busy machine. Tests wait for what has to happen (barriers, scripted
 * factories, `eventually`), or move a clock of their own. Those that cannot are listed here, each with its reason.
 */
const NEED_REAL_TIME: Readonly<Record<string, string>> = {
  'adapters/ioredis/budget.test.ts': 'tenants that pause: the pace of a load, which nothing waits for',
  'adapters/ioredis/cluster/moving.test.ts': 'whether the machine stood still: then the bound is another',
  'adapters/ioredis/cluster/reshard.test.ts': 'the same',
  'adapters/ioredis/cluster/roles.test.ts': 'users that hold what they have borrowed: the pace of a load',
  'adapters/ioredis/cluster/sockets.test.ts': 'the same, and whether the machine stood still',
  'adapters/ioredis/credentials.test.ts': 'a token that a server of today says will expire',
  'adapters/ioredis/handoffs.test.ts': "the server's own grace periods",
  'adapters/ioredis/leaks.test.ts': 'callers that give up at any moment of a handshake',
  'adapters/ioredis/sentinel.test.ts': 'which writes came after a switch of real servers',
  'adapters/net/net.test.ts': 'a caller that gives up at any moment of a handshake',
  'adapters/otel/metrics.test.ts': 'a seed',
  'cli/inspector-closed.test.ts': 'polls another process',
  'cli/outages.test.ts': 'polls another process',
  'connecting/expiry.test.ts': 'dates of expiry; the clock is injected',
  'connecting/hang-up.test.ts':
    'the pace of callers; the dials that are allowed grow with the time that passed',
  'connecting/restart.test.ts': 'counts dials in the first second; on a slow machine they are fewer',
  'diagnostics/report-dangers.test.ts': 'keeps a child process alive',
  'diagnostics/timeline.test.ts': 'a recording has the times of the system: some of it must pass',
  'docs/thaw.test.ts': 'polls a stopped process',
  'drop-in/redis-4.test.ts': 'a limit for what hangs in other libraries',
  'health/min.test.ts': 'the idle limit of a real server, which has no shorter one than seconds',
  'nested/redis-knot.test.ts': 'says how long a deadlock stood',
  'nested/traffic.test.ts': 'traffic on a real socket for longer than the grace',
  'runtime/fake-timers.test.ts': 'the system clock beside faked ones',
  'runtime/log-output.test.ts': 'a reader that is slow, in another process, and limits for what hangs',
  'runtime/stalls-measured.test.ts': 'the measurement of real stalls',
  'simulation/world.test.ts': 'the timers and dates of a simulated world',
  'sockets/redis-timeout.test.ts': 'the idle limit of a real server',
}

/** Not a socket's own, and not that of a simulated world. */
const REAL_TIME =
  /(?<![.\w])setTimeout\s*\(|setTimeout as \w+ \} from 'node:timers\/promises'|\b(?:performance|Date)\.now\s*\(|Atomics\.wait\s*\(/

test('no test sleeps or measures time, but those that say why', () => {
  const folder = join(packageRoot(), 'test')
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.test.ts') && name !== 'real-time.test.ts')
    .map(name => name.replaceAll('\\', '/'))
  const found = names.filter(name => REAL_TIME.test(readFileSync(join(folder, name), 'utf8')))
  const unlisted = found.filter(name => NEED_REAL_TIME[name] === undefined)
  assert.deepEqual(unlisted, [], 'wait for what has to happen, or inject a clock: test/support/clock.ts')
  const unneeded = Object.keys(NEED_REAL_TIME).filter(name => !found.includes(name))
  assert.deepEqual(unneeded, [], 'take them off the list')
})
