import { setTimeout as delay } from 'node:timers/promises'
import { startCluster } from '../../test/support/redis-cluster.ts'
import { CLUSTER_CONTENDERS, type ClusterContender, clusterContender } from '../contenders/cluster.ts'

/*
 * How long after a takeover each contender is served again. All of them use one cluster at the same time, so that the time
 * that the cluster itself takes, which differs from run to run, is the same for all.
 *
 *     node .build/bench/studies/takeover.js [SIGKILL | SIGSTOP | FAILOVER] [rounds]
 */

const SLOT = 12_182
const EVERY_MILLIS = 10
const BEFORE_MILLIS = 1000
const AFTER_MILLIS = 5000

const [what = 'SIGKILL', rounds = '3'] = process.argv.slice(2)

interface Line {
  readonly name: string
  readonly way: ClusterContender
  readonly key: string
  readonly ends: number[]
  failed: number
}

async function round(): Promise<void> {
  const cluster = await startCluster()
  const ports = cluster.servers.map(({ port }) => port)
  const lines: Line[] = []
  for (const [index, name] of CLUSTER_CONTENDERS.entries()) {
    const way = await clusterContender(name, ports)
    lines.push({ name, way, key: `{foo}${index}`, ends: [], failed: 0 })
  }
  let isOver = false
  const loads = lines.map(async line => {
    for (; !isOver; await delay(EVERY_MILLIS))
      void line.way.increment(line.key).then(
        () => line.ends.push(performance.now()),
        () => {
          line.failed += 1
        },
      )
  })
  await delay(BEFORE_MILLIS)
  const [old, replica] = [await cluster.ownerOf(SLOT), await cluster.replicaOf(SLOT)]
  const at = performance.now()
  if (what === 'FAILOVER') await cluster.admin(replica).call('CLUSTER', 'FAILOVER')
  else process.kill(old.pid, what as NodeJS.Signals)
  let taken = Number.NaN
  for (; performance.now() < at + AFTER_MILLIS; await delay(3)) {
    if (!Number.isNaN(taken)) continue
    const role = (await cluster.admin(replica).call('ROLE')) as unknown[]
    if (String(role[0]) === 'master') taken = performance.now()
  }
  isOver = true
  await Promise.all(loads)
  console.log(`${what}: the replica took over after ${Math.round(taken - at)} ms`)
  for (const { name, ends, failed } of lines) {
    const first = ends.find(end => end > taken)
    const millis =
      first === undefined ? `over ${Math.round(at + AFTER_MILLIS - taken)}` : Math.round(first - taken)
    console.log(`  ${name.padEnd(34)} served again ${millis} ms after that, ${failed} failed`)
  }
  await Promise.race([Promise.all(lines.map(({ way }) => way.close().catch(() => {}))), delay(3000)])
  await cluster.stop()
}

for (let count = 0; count < Number(rounds); count += 1) await round()
process.exit(0)
