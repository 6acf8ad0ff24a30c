import { setTimeout as delay } from 'node:timers/promises'
import { startCluster, type TestCluster } from '../../test/support/redis-cluster.ts'
import { CLUSTER_CONTENDERS, clusterContender } from '../contenders/cluster.ts'
import { startLoad } from './outage-load.ts'
import type { Figure, Scene } from './scene.ts'

const KEY = 'foo'
const SLOT = 12_182
const BEFORE_MILLIS = 500
const AFTER_MILLIS = 6000
/** No request may take longer. */
const HUNG_MILLIS = 6000

/** What happens to the primary of the key. Resolves when it has happened. */
type Trouble = (cluster: TestCluster) => Promise<unknown>

/** Three primaries and three replicas; `cluster-node-timeout` is 700 ms. */
const trouble = (what: string, happen: Trouble, after = AFTER_MILLIS): Scene => ({
  group: `Redis Cluster: ${what}, 500 WATCH transactions a second on one key`,
  contenders: CLUSTER_CONTENDERS,
  base: 'generic-pool + ioredis Cluster',
  rounds: 2,
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
    const at = performance.now()
    await happen(cluster)
    await delay(after)
    await stop()
    const owner = await cluster.ownerOf(SLOT)
    const counter = Number(await cluster.admin(owner).get(KEY))
    const failed = requests.filter(each => each.failed === true)
    const served = requests.filter(each => each.failed !== true && each.millis !== undefined)
    const ends = served.map(each => each.at + (each.millis as number)).sort((a, b) => a - b)
    let gap = 0
    for (const [index, end] of ends.entries())
      if (end > at) gap = Math.max(gap, end - Math.max(ends[index - 1] ?? at, at))
    const hung = requests.filter(({ millis }) => millis === undefined || millis > HUNG_MILLIS).length
    // What hangs is counted already.
    await Promise.race([way.close().catch(() => {}), delay(3000)])
    await cluster.stop()
    return [
      { row: 'longest time without any served', unit: 'ms', value: gap },
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
