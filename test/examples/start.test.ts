import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { brokenPromises, type Findings, judge } from '../../examples/soak/findings.ts'
import { ChildOutput } from '../support/child-output.ts'
import { BINARY_VARIABLE, ensureRedisBinary, MISSING_VARIABLE } from '../support/redis-binary.ts'

const LIMIT_MILLIS = 40_000
const NONE = 'No redis-server, by order of a test.'

const binary = await ensureRedisBinary()
const real = 'path' in binary ? { skip: false, path: binary.path } : { skip: binary.missing, path: '' }

/** What `npm start` runs, as a child; `variables` say which Redis it will find. */
async function start(words: string[], variables: Record<string, string>) {
  const script = fileURLToPath(new URL('../../examples/start.js', import.meta.url))
  const { REDIS_URL, [BINARY_VARIABLE]: path, [MISSING_VARIABLE]: missing, ...env } = process.env
  const child = spawn(process.execPath, [script, ...words], {
    env: { ...env, ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MILLIS,
    killSignal: 'SIGKILL',
  })
  const output = new ChildOutput(child)
  const code = await output.ended
  return { code, stdout: output.stdout, stderr: output.stderr }
}

describe('npm start -- service', { concurrency: true }, () => {
  test('on a real server: connections are killed all the while, and no promise is broken', {
    skip: real.skip,
  }, async () => {
    const { code, stdout, stderr } = await start(['service', '--seconds', '4', '--json', '--metrics'], {
      [BINARY_VARIABLE]: real.path,
    })
    assert.notEqual(stdout, '', stderr)
    const findings = JSON.parse(stdout) as Findings & { redis: string }
    assert.deepEqual(brokenPromises(findings), [], stderr)
    assert.equal(code, 0, stderr)
    assert.match(stderr, /^db_client_connection_max\{db_client_connection_pool_name="service",[^}]*\} \d+$/m)
    const { troubles, noticed, pool, bank, sockets } = findings
    assert.match(findings.redis, /redis-server started for this run/)
    assert.ok(troubles.kills >= 8, `${troubles.kills} killed`)
    assert.ok((troubles.block?.killed ?? 0) > 0, 'nothing was killed while the loop was blocked')
    assert.ok(noticed.operations > 200, `${noticed.operations} operations`)
    assert.deepEqual(noticed.hung, [])
    assert.equal(bank.total, bank.expectedTotal)
    assert.ok(bank.confirmed > 0)
    assert.ok(pool.connects > troubles.kills, 'what was killed was not replaced')
    assert.ok((pool.destroys.generation ?? 0) > 0, 'purge() replaced nothing')
    assert.ok(sockets.opened >= pool.connects, `${sockets.opened} sockets, ${pool.connects} connections`)
    for (const promise of FALSIFIED) {
      assert.match(brokenPromises(promise.falsify(findings)).join('; '), promise.broken)
    }
  })

  test('on the stand-in, where there is no Redis: it says so, and a person can read the rest', async () => {
    const { code, stdout, stderr } = await start(['service', '--seconds', '4'], {
      [MISSING_VARIABLE]: NONE,
    })
    assert.equal(code, 0, stdout + stderr)
    assert.match(stdout, /^Redis: the small stand-in .*No redis-server, by order of a test\./)
    for (const second of [1, 2, 3, 4]) {
      assert.match(stdout, new RegExp(`^  ${second} s +\\d+ served .* killed  pool \\d/\\d: `, 'm'))
    }
    assert.match(stdout, /^pool 'service' is open \(total=\d/m)
    assert.match(stdout, /^ +hung +0$/m)
    assert.match(stdout, /^ +money in all accounts +1000 {2}1000 at the start/m)
    assert.match(stdout, /^Every promise was kept/m)
    const wide = stdout.split('\n').filter(line => line.length > 150)
    assert.deepEqual(wide.slice(1), [], 'lines too long to read')
  })

  test('no server at REDIS_URL is said in one line', async () => {
    const { code, stdout, stderr } = await start([], { REDIS_URL: 'redis://127.0.0.1:1' })
    assert.deepEqual({ code, stdout }, { code: 2, stdout: '' })
    assert.match(stderr, /^REDIS_URL is set, but no Redis answers at 127\.0\.0\.1:1 .*\n$/)
  })
})

/** Findings that would be bad news, and what must be said of them. */
const FALSIFIED: { falsify(good: Findings): Findings; broken: RegExp }[] = [
  {
    falsify: good => ({ ...good, bank: { ...good.bank, total: 999 } }),
    broken: /the accounts hold 999/,
  },
  {
    falsify: good => ({ ...good, bank: { ...good.bank, counted: good.bank.confirmed - 1 } }),
    broken: /transfers: /,
  },
  {
    falsify: good => ({ ...good, visits: { ...good.visits, counted: good.visits.counted + 99 } }),
    broken: /visits: /,
  },
  { falsify: good => ({ ...good, queue: { ...good.queue, twice: 1 } }), broken: /consumed twice/ },
  {
    falsify: good => ({ ...good, queue: { ...good.queue, lost: good.queue.popsCutOff + 1 } }),
    broken: /vanished/,
  },
  {
    falsify: good => ({ ...good, noticed: { ...good.noticed, hung: ['pop for 9000 ms'] } }),
    broken: /somebody hung: pop/,
  },
  {
    falsify: good => ({ ...good, sockets: { ...good.sockets, closed: good.sockets.closed - 1 } }),
    broken: /sockets opened/,
  },
  {
    falsify: good => ({ ...good, sockets: { ...good.sockets, seenByServer: 1 } }),
    broken: /server still has 1/,
  },
  {
    falsify: good => ({ ...good, owned: { ...good.owned, size: good.owned.size + 1 } }),
    broken: /connections made, but/,
  },
]

test('a failed command is set against the kill of its connection: before, during or after the loan began', () => {
  const kill = { name: 'c', sentAt: 100, answeredAt: 101 }
  const failed = (connection: string, at: number, heardUntil: number) =>
    ({ kind: 'read', connection, loan: { at, heardUntil }, message: 'closed' }) as const
  assert.deepEqual(
    judge(
      [
        failed('c', 99, 98),
        failed('c', 100.5, 99),
        failed('c', 102, 101.5),
        failed('c', 301, 100),
        failed('c', 311, 105),
        failed('d', 99, 98),
      ],
      [kill],
    ),
    {
      total: 6,
      whileLent: 1,
      finInFlight: 2,
      unheard: [200],
      lentDead: [210],
      unexplained: ['read on d: closed'],
    },
  )
})
