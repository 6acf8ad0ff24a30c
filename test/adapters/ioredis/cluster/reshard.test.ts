import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import { keySlot } from '../../../../src/adapters/ioredis/cluster/keys.ts'
import { createRedisClusterPool } from '../../../../src/adapters/ioredis/index.ts'
import { startCluster, type TestCluster } from '../../../support/redis-cluster.ts'
import { ensureRedisBinary, type RedisServer } from '../../../support/redis-server.ts'
import { watchedIncrement } from '../../../support/watched-increment.ts'
import { allowed, mostConnectionsTo } from './connections.ts'

/* `redis-cli --cluster reshard` under load, for minutes: only where LIFEGUARD_LONG is set. */

const binary = await ensureRedisBinary()
const isLong = process.env.LIFEGUARD_LONG !== undefined
const skip = 'missing' in binary ? binary.missing : !isLong && 'takes minutes: set LIFEGUARD_LONG'
const cluster = skip ? (undefined as unknown as TestCluster) : await startCluster()
after(() => cluster?.stop())
await cluster?.withoutFailover()

/** redis-cli moves the first slots of a node first. This key is in one of the first twenty. */
const key = Array.from({ length: 100_000 }, (_, index) => `counter:${index}`).find(
  each => keySlot(each) < 20,
) as string
const ALL = 10_000
const DEADLINE_MILLIS = 5000

const run = promisify(execFile)

async function reshard(from: RedisServer, to: RedisServer): Promise<void> {
  const id = async (server: RedisServer): Promise<string> =>
    String(await cluster.admin(server).cluster('MYID'))
  const ends = ['--cluster-from', await id(from), '--cluster-to', await id(to)]
  const how = ['--cluster-slots', '20', '--cluster-yes', '--cluster-pipeline', '10']
  await run('redis-cli', ['--cluster', 'reshard', `127.0.0.1:${from.port}`, ...ends, ...how])
}

test('two WATCH writers count to 10 000 while redis-cli reshards slot by slot: nothing is lost, nobody hangs', {
  skip,
}, async () => {
  const max = 3
  await using pool = createRedisClusterPool(cluster.nodes, { max, acquireTimeoutMillis: DEADLINE_MILLIS })
  const [home, other] = [await cluster.ownerOf(keySlot(key)), cluster.servers[1] as RedisServer]
  let isOver = false
  let counted = 0
  let longest = 0
  let most = 0
  let moves = 0
  const failures: unknown[] = []
  const writer = async (): Promise<void> => {
    while (!isOver && counted < ALL) {
      const since = performance.now()
      const isDone = await pool
        .use({ key }, redis => watchedIncrement(redis, key), { retryMoved: true })
        .catch(error => {
          failures.push(error)
          return false
        })
      longest = Math.max(longest, performance.now() - since)
      if (isDone) counted += 1
    }
  }
  const reader = async (id: number): Promise<void> => {
    for (let count = 0; !isOver && counted < ALL; count += 1) {
      const one = `reader:${id}:${count % 5000}`
      await pool.use({ key: one }, redis => redis.incr(one)).catch(error => failures.push(error))
    }
  }
  const ports = cluster.servers.map(({ port }) => port)
  // One is the test's own.
  const counting = setInterval(() => {
    most = Math.max(most, mostConnectionsTo(ports) - 1)
  }, 250)
  const work = Promise.all([writer(), writer(), reader(1), reader(2)])
  try {
    for (; counted < ALL; moves += 1) {
      const [from, to] = moves % 2 === 0 ? [home, other] : [other, home]
      await reshard(from, to)
      await cluster.settled()
    }
  } finally {
    isOver = true
    await work
    clearInterval(counting)
  }
  const value = Number(await pool.use({ key }, redis => redis.get(key), { retryMoved: true }))
  const { topology } = pool.stats()
  const seen = `${counted} counted, ${value} in the key, ${moves} reshards of 20 slots, ${JSON.stringify(topology)}, longest ${longest} ms`
  process.stdout.write(`${seen}, ${most} connections to a node at most\n`)
  assert.equal(value, counted, seen)
  assert.ok(longest < DEADLINE_MILLIS + 1000, seen)
  assert.ok(most <= allowed(max, longest), `${most} connections to a node`)
  assert.ok(moves > 3, seen)
  // A reader does not ask to be run again: it is told, and that is no loss.
  for (const error of failures) assert.match(String(error), /has moved|is being moved/)
})
