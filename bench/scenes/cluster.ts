import { setTimeout as delay } from 'node:timers/promises'
import { startCluster, type TestCluster } from '../../test/support/redis-cluster.ts'
import type { RedisServer } from '../../test/support/redis-server.ts'
import { CLUSTER_CONTENDERS, clusterContender } from '../contenders/cluster.ts'
import { startLoad } from './outage-load.ts'
import type { Figure, Scene } from './scene.ts'

const KEY = 'foo'
const SLOT = 12_182
const BEFORE_MILLIS = 500
const AFTER_MILLIS = 6000
/** No request may take longer. */
const HUNG_MILLIS = 6000

/** When the replica says that it is a primary, by `performance.now()`. Nobody can be served before. */
async function takeover(cluster: TestCluster, replica: RedisServer, until: number): Promise<number> {
  const client = cluster.admin(replica)
  while (performance.now() < until) {
    const role = await client.call('ROLE').catch(() => [])
    if (String((role as unknown[])[0]) === 'master') return performance.now()
    await delay(3)
  }
  return Number.NaN
}

/** What happens to the primary of the key. Resolves when it has happened. */
type Trouble = (cluster: TestCluster) => Promise<unknown>

/** Three primaries and three replicas; `cluster-node-timeout` is 1000 ms. */
const trouble = (what: string, happen: Trouble, after = AFTER_MILLIS): Scene => ({
  group: `Redis Cluster: ${what}, 500 WATCH transactions a second on one key`,
  contenders: CLUSTER_CONTENDERS,
  base: 'generic-pool + ioredis Cluster',
  rounds: 3,
  redis: true,
  patience: 60_000,
  async run(contender): Promise<Figure[]> {
    const cluster = await startCluster()
    const way = await clusterContender(
      contender,
      cluster.servers.map(({ port }) => port),
    )
    let executed = 0
    await way.increment(KEY)
    const { requests, stop } = startLoad(async () => {
      if (await way.increment(KEY)) executed += 1
    })
    await delay(BEFORE_MILLIS)
    const replica = await cluster.replicaOf(SLOT)
    const at = performance.now()
    const taken = takeover(cluster, replica, at + after)
    await happen(cluster)
    await delay(after)
    await stop()
    const owner = await cluster.ownerOf(SLOT)
    const counter = Number(await cluster.admin(owner).get(KEY))
    const failed = requests.filter(each => each.failed === true)
    const served = requests.filter(each => each.failed !== true && each.millis !== undefined)
    const ends = served.map(each => each.at + (each.millis as number)).sort((a, b) => a - b)
    let gap = 0
    let gapEnd = at
    for (const [index, end] of ends.entries()) {
      const millis = end - Math.max(ends[index - 1] ?? at, at)
      if (end > at && millis > gap) [gap, gapEnd] = [millis, end]
    }
    const takenAt = await taken
    const hung = requests.filter(({ millis }) => millis === undefined || millis > HUNG_MILLIS).length
    // What hangs is counted already.
    await Promise.race([way.close().catch(() => {}), delay(3000)])
    await cluster.stop()
    const afterwards: Figure[] = Number.isNaN(takenAt)
      ? []
      : [{ row: 'of that, after the replica had taken over', unit: 'ms', value: gapEnd - takenAt }]
    return [
      { row: 'longest time without any served', unit: 'ms', value: gap },
      ...afterwards,
      { row: 'failed', unit: '', value: failed.length },
      { row: 'hung', unit: '', value: hung },
      {
        row: 'longest wait of one served',
        unit: 'ms',
        value: Math.max(...served.map(({ millis }) => millis as number)),
      },
      // One was made before the load. What failed may have run: more is no loss.
      { row: 'updates lost', unit: '', value: Math.max(executed + 1 - counter, 0) },
    ]
  },
})

const RESHARDS = 20

export const SCENES: Readonly<Record<string, Scene>> = {
  'cluster: reshard': trouble(
    `its slot moves ${RESHARDS} times`,
    async cluster => {
      for (let count = 0; count < RESHARDS; count += 1)
        await cluster.move(SLOT, await cluster.otherThan(SLOT))
    },
    500,
  ),
  'cluster: failover': trouble('CLUSTER FAILOVER', async cluster =>
    cluster.admin(await cluster.replicaOf(SLOT)).call('CLUSTER', 'FAILOVER'),
  ),
  'cluster: SIGKILL': trouble('its primary is killed', async cluster => (await cluster.ownerOf(SLOT)).stop()),
  'cluster: SIGSTOP': trouble('its primary is stopped', async cluster => {
    const { pid } = await cluster.ownerOf(SLOT)
    process.kill(pid, 'SIGSTOP')
  }),
}
