import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CredentialSource } from '../../src/adapters/ioredis/client/credentials.ts'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { createSimulation, type Simulation } from '../../src/testing/index.ts'
import { playOnCluster } from './cluster-scene.ts'

/*
 * A call of `credentials` that never answers, as an HTTP request without a time limit whose answer is lost. All connections
 * share a call, and with a steady demand there is always one that has just begun to wait.
 */

const KEYS = ['foo', 'b', 'bar']
const LIMIT = 3000

/** A function whose calls with these numbers never answer; the others take 50 ms. */
function forgetting(lost: readonly number[]) {
  const calls = { made: 0, aborted: 0, world: undefined as Simulation | undefined }
  const credentials = async (signal: AbortSignal) => {
    calls.made += 1
    signal.addEventListener('abort', () => {
      calls.aborted += 1
    })
    if (lost.includes(calls.made)) return new Promise<never>(() => {})
    await calls.world?.sleep(50)
    return { password: 'token' }
  }
  return { calls, credentials }
}

/** Somebody asks every 300 ms, for a minute. @returns how many were not served of those who asked after this time */
async function failuresAfter(millis: number, world: Simulation, ask: (round: number) => Promise<unknown>) {
  let failures = 0
  const asked: Promise<unknown>[] = []
  for (let round = 0; round < 200; round += 1) {
    const isCounted = round * 300 >= millis
    asked.push(
      ask(round).catch(() => {
        if (isCounted) failures += 1
      }),
    )
    await world.sleep(300)
  }
  await Promise.all(asked)
  return failures
}

describe('a call of credentials that never answers is waited for no longer than createTimeoutMillis', () => {
  for (const lost of [[1], [2], [3], [2, 3]])
    for (const min of [0, 1])
      test(`by a cluster's pool under a steady demand (min ${min}): call ${lost}`, async () => {
        const { calls, credentials } = forgetting(lost)
        const options = { max: 8, min, credentials, createTimeoutMillis: LIMIT, acquireTimeoutMillis: 2000 }
        await playOnCluster(options, async ({ world, pool }) => {
          calls.world = world
          const failures = await failuresAfter(lost.length * LIMIT + 500, world, round => {
            const key = KEYS[round % 3] as string
            return pool.use({ key }, redis => redis.get(key))
          })
          assert.equal(failures, 0)
          assert.equal(calls.aborted, lost.length)
          assert.ok(calls.made <= 10, `${calls.made} calls`)
        })
      })

  test('by the pool of one server', async () => {
    const { calls, credentials } = forgetting([1])
    await playOnCluster({}, async ({ world, cluster, node }) => {
      calls.world = world
      const { host, port } = node(0).server
      const options = { max: 8, credentials, createTimeoutMillis: LIMIT, acquireTimeoutMillis: 2000 }
      const pool = createRedisPool({ host, port, ...cluster.redisOptions }, options)
      const failures = await failuresAfter(LIMIT + 500, world, () => pool.use(redis => redis.get('foo')))
      assert.equal(failures, 0)
      assert.equal(calls.aborted, 1)
      await pool.close()
    })
  })
})

describe('one call for several connections', () => {
  const { signal } = new AbortController()
  const until = (millis: number, world: Simulation): AbortSignal => {
    const abort = new AbortController()
    world.after(millis, () => abort.abort(new Error('connecting took too long')))
    return abort.signal
  }
  const told = (source: CredentialSource, ended = signal): Promise<string> =>
    source.open(ended, async ({ password }) => password)

  test('the one that came first fails with its own time limit, those that came later at the same time: the next call is new', async () => {
    const world = createSimulation()
    await world.run(async () => {
      const { calls, credentials } = forgetting([1])
      calls.world = world
      const source = new CredentialSource(credentials, LIMIT)
      const failed = (ended?: AbortSignal): Promise<string> =>
        told(source, ended).catch((error: Error) => `${error.message} after ${world.now}`)
      const first = failed(until(LIMIT, world))
      await world.sleep(1000)
      const later = [failed(), failed(until(LIMIT, world))]
      const why = 'given up while the function credentials was asked'
      const late = `${why} (no answer within ${LIMIT} ms) after ${LIMIT}`
      assert.equal(await first, `${why} (connecting took too long) after ${LIMIT}`)
      assert.deepEqual(await Promise.all(later), [late, late])
      assert.equal(await told(source), 'token')
      assert.deepEqual([calls.made, calls.aborted], [2, 1])
    })
  })

  test('a slow answer that the first one still awaits, as its own time limit was put off, is used', async () => {
    const world = createSimulation()
    await world.run(async () => {
      let calls = 0
      const source = new CredentialSource(async () => {
        calls += 1
        await world.sleep(LIMIT + 500)
        return { password: `token ${calls}` }
      }, LIMIT)
      assert.equal(await told(source), 'token 1')
      assert.equal(calls, 1)
    })
  })

  test('a hundred connections that wait for it cause no warning of too many listeners', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error): void => {
      warnings.push(warning)
    }
    process.on('warning', onWarning)
    const turn = setImmediate
    const world = createSimulation()
    await world.run(async () => {
      const { calls, credentials } = forgetting([])
      calls.world = world
      const source = new CredentialSource(credentials, LIMIT)
      const all = Array.from({ length: 100 }, () => told(source, until(LIMIT, world)))
      assert.equal(new Set(await Promise.all(all)).size, 1)
      assert.equal(calls.made, 1)
    })
    // A warning is emitted in a later turn.
    for (let turns = 0; turns < 3; turns += 1) await new Promise(resolve => turn(resolve))
    process.off('warning', onWarning)
    assert.deepEqual(warnings, [])
  })

  test('a call for which nobody waits any more is aborted once, and nothing is left of it', async () => {
    const world = createSimulation()
    await world.run(async () => {
      const { calls, credentials } = forgetting([1, 2])
      calls.world = world
      const source = new CredentialSource(credentials, LIMIT)
      const gone = await told(source, until(100, world)).catch((error: Error) => error.message)
      assert.match(String(gone), /given up while the function credentials was asked/)
      // Another connection may take its place in this turn.
      await world.sleep(1)
      assert.deepEqual([calls.made, calls.aborted, source.askedSince], [1, 1, undefined])
      await world.sleep(2 * LIMIT)
      assert.deepEqual([calls.made, calls.aborted], [1, 1])
    })
  })
})
