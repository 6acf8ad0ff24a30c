import { setTimeout as delay } from 'node:timers/promises'
import { createRedisClusterPool } from '../../src/adapters/ioredis/index.ts'
import { isPoolError } from '../../src/index.ts'
import { ensureRedisBinary } from '../../test/support/redis-binary.ts'
import { startCluster, type TestCluster } from '../../test/support/redis-cluster.ts'

/*
 * What `npm start -- cluster` runs: three primaries and three replicas, four writers that count on one key with WATCH, four
 * readers of keys all over. Meanwhile slots move, a replica is promoted, and a primary is stopped and cut off.
 */

const KEY = 'counter'
/** The slot of the key. */
const SLOT = 6680
const MAX = 4
const DEADLINE_MILLIS = 10_000
/** Beyond the deadline of an acquire, nothing may take longer than this. */
const MERCY_MILLIS = 1000

interface Tally {
  done: number
  read: number
  failed: Map<string, number>
  longestMillis: number
}

/** @returns the exit code */
export async function runCluster({ json }: { json: boolean }): Promise<number> {
  const say = (line: string): void => {
    const stream = json ? process.stderr : process.stdout
    stream.write(`${line.trimEnd()}\n`)
  }
  const binary = await ensureRedisBinary()
  if ('missing' in binary) throw new Error(`a cluster needs a real Redis: ${binary.missing}`)
  say('Starting three primaries and three replicas …')
  const cluster = await startCluster()
  try {
    return await play(cluster, say, json)
  } finally {
    await cluster.stop()
  }
}

async function play(cluster: TestCluster, say: (line: string) => void, json: boolean): Promise<number> {
  const pool = createRedisClusterPool(cluster.nodes, {
    max: MAX,
    acquireTimeoutMillis: DEADLINE_MILLIS,
    name: 'demo',
  })
  const tally: Tally = { done: 0, read: 0, failed: new Map(), longestMillis: 0 }
  let isOver = false
  const timed = async (work: () => Promise<unknown>): Promise<void> => {
    const since = performance.now()
    try {
      await work()
    } catch (error) {
      const what = isPoolError(error)
        ? error.code
        : String((error as Error).message)
            .split(' ', 2)
            .join(' ')
      tally.failed.set(what, (tally.failed.get(what) ?? 0) + 1)
    }
    tally.longestMillis = Math.max(tally.longestMillis, performance.now() - since)
  }
  const writer = async (): Promise<void> => {
    while (!isOver)
      await timed(() =>
        pool.use(
          { key: KEY },
          async redis => {
            await redis.watch(KEY)
            const value = Number(await redis.get(KEY))
            if (
              (await redis
                .multi()
                .set(KEY, value + 1)
                .exec()) !== null
            )
              tally.done += 1
          },
          { retryMoved: true },
        ),
      )
  }
  const reader = async (id: number): Promise<void> => {
    for (let count = 0; !isOver; count += 1) {
      const key = `reader:${id}:${count % 1000}`
      await timed(() => pool.use({ key }, redis => redis.get(key), { retryMoved: true }))
      tally.read += 1
    }
  }
  const shown = setInterval(() => {
    const { topology, nodes } = pool.stats()
    const failed = [...tally.failed].map(([what, count]) => `${count} × ${what}`).join(', ') || 'none'
    const shares = nodes
      .map(({ node, stats }) => `${node.split(':')[1]}: ${stats.borrowed}/${stats.size}`)
      .join(' ')
    say(
      `  ${String(tally.done).padStart(6)} counted ${String(tally.read).padStart(6)} read  ` +
        `slots that moved ${String(topology.changes - 16_384).padStart(5)}  told ${String(topology.moved).padStart(4)}  ` +
        `failed: ${failed}  lent ${shares}`,
    )
  }, 1000)
  const work = Promise.all([
    ...Array.from({ length: 4 }, writer),
    ...Array.from({ length: 4 }, (_, id) => reader(id)),
  ])
  await delay(1500)
  await reshard(cluster, say)
  say('\nCLUSTER FAILOVER: the replica of the counter takes over')
  await cluster.admin(await cluster.replicaOf(SLOT)).call('CLUSTER', 'FAILOVER')
  await cluster.settled()
  await delay(1500)
  const stopped = await cluster.ownerOf(SLOT)
  say(`\nSIGSTOP to the primary of the counter, port ${stopped.port}`)
  process.kill(stopped.pid, 'SIGSTOP')
  const counted = tally.done
  const since = performance.now()
  const isServed = (): boolean =>
    tally.done > counted + MAX &&
    pool.stats().nodes.every(({ node, slots }) => slots === 0 || node !== `127.0.0.1:${stopped.port}`)
  while (!isServed() && performance.now() - since < 20_000) await delay(5)
  const outageMillis = Math.round(performance.now() - since)
  say(`\nCounting goes on after ${outageMillis} ms; SIGCONT`)
  process.kill(stopped.pid, 'SIGCONT')
  await cluster.settled()
  await delay(1000)
  isOver = true
  await work
  clearInterval(shown)
  const counter = Number(await pool.use({ key: KEY }, redis => redis.get(KEY)))
  const { topology } = pool.stats()
  await pool.close()
  const findings = {
    counted: tally.done,
    counter,
    // A transaction whose connection was cut may have been executed: the counter may be ahead by those, and never behind.
    lost: Math.max(tally.done - counter, 0),
    read: tally.read,
    failed: Object.fromEntries(tally.failed),
    longestMillis: Math.round(tally.longestMillis),
    hung: tally.longestMillis > DEADLINE_MILLIS + MERCY_MILLIS,
    outageMillis,
    topology,
  }
  if (json) process.stdout.write(`${JSON.stringify(findings, null, 2)}\n`)
  say(`\ncounted ${findings.counted}, the counter says ${counter}: ${findings.lost} updates lost`)
  say(`longest request ${findings.longestMillis} ms, hung: ${findings.hung ? 'yes' : 'none'}`)
  say(`told that a slot has moved ${topology.moved}, single commands sent elsewhere ${topology.followed}`)
  return findings.lost === 0 && !findings.hung && findings.counted > 100 ? 0 : 1
}

/** Slot by slot, as redis-cli --cluster reshard does: the counter's there and back, with a hundred others. */
async function reshard(cluster: TestCluster, say: (line: string) => void): Promise<void> {
  say('\nSlots move, one by one, the one of the counter there and back several times')
  for (let round = 0; round < 6; round += 1) {
    const to = await cluster.otherThan(SLOT)
    for (let slot = SLOT; slot < SLOT + 20; slot += 1)
      if ((await cluster.ownerOf(slot)) !== to) await cluster.move(slot, to)
  }
}
