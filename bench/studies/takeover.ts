import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { startCluster } from '../../test/support/redis-cluster.ts'
import { CLUSTER_CONTENDERS, clusterContender } from '../contenders/cluster.ts'

/*
 * How long after a takeover each contender is served again. All of them use one cluster at the same time, so that the time
 * that the cluster itself takes, which differs from run to run, is the same for all. Each has a process of its own, so that none
 * waits for the work of another.
 *
 *     node .build/bench/studies/takeover.js [SIGKILL | SIGSTOP | FAILOVER] [rounds]
 */

const SLOT = 12_182
const EVERY_MILLIS = 10
const BEFORE_MILLIS = 1000
const AFTER_MILLIS = process.argv[2] === 'FAILOVER' ? 1500 : 5000

/** The same in all processes. */
const now = (): number => performance.timeOrigin + performance.now()

/** When requests were served, and how many failed. */
interface Outcome {
  readonly ends: number[]
  readonly failed: number
}

async function load(name: string, key: string, ports: readonly number[]): Promise<void> {
  const way = await clusterContender(name, ports)
  const ends: number[] = []
  let failed = 0
  let isOver = false
  process.once('message', () => {
    isOver = true
  })
  process.send?.('begun')
  for (; !isOver; await delay(EVERY_MILLIS))
    void way.increment(key).then(
      () => ends.push(now()),
      () => {
        failed += 1
      },
    )
  await Promise.race([way.close().catch(() => {}), delay(3000)])
  process.send?.({ ends, failed } satisfies Outcome, () => process.exit(0))
}

async function round(what: string): Promise<Map<string, number>> {
  const cluster = await startCluster()
  const ports = cluster.servers.map(({ port }) => String(port))
  const children = new Map<string, ChildProcess>()
  for (const [index, name] of CLUSTER_CONTENDERS.entries()) {
    const child = fork(process.argv[1] as string, ['load', name, `{foo}${index}`, ...ports])
    children.set(name, child)
    await once(child, 'message')
  }
  await delay(BEFORE_MILLIS)
  const [old, replica] = [await cluster.ownerOf(SLOT), await cluster.replicaOf(SLOT)]
  const at = now()
  if (what === 'FAILOVER') await cluster.admin(replica).call('CLUSTER', 'FAILOVER')
  else process.kill(old.pid, what as NodeJS.Signals)
  let taken = Number.NaN
  for (; now() < at + AFTER_MILLIS; await delay(3)) {
    if (!Number.isNaN(taken)) continue
    const role = (await cluster.admin(replica).call('ROLE')) as unknown[]
    if (String(role[0]) === 'master') taken = now()
  }
  console.log(`${what}: the replica took over after ${Math.round(taken - at)} ms`)
  const served = new Map<string, number>()
  for (const [name, child] of children) {
    const answer = once(child, 'message')
    child.send('end')
    const [{ ends, failed }] = (await answer) as [Outcome]
    const first = ends.find(end => end > taken) ?? Number.POSITIVE_INFINITY
    served.set(name, first - taken)
    const millis =
      first === Number.POSITIVE_INFINITY
        ? `over ${Math.round(at + AFTER_MILLIS - taken)}`
        : Math.round(first - taken)
    console.log(`  ${name.padEnd(34)} served again ${millis} ms after that, ${failed} failed`)
  }
  await cluster.stop()
  return served
}

async function rounds(what: string, count: number): Promise<void> {
  const all: Map<string, number>[] = []
  for (let index = 0; index < count; index += 1) all.push(await round(what))
  console.log(`${what}, ${count} times: fastest, median and slowest, ms`)
  for (const name of CLUSTER_CONTENDERS) {
    const sorted = all.map(served => served.get(name) as number).sort((a, b) => a - b)
    const shown = [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)].map(each =>
      Math.round(each as number),
    )
    console.log(`  ${name.padEnd(34)} ${shown.join(' / ')}`)
  }
}

const [first = 'SIGKILL', second = '3', key = '', ...ports] = process.argv.slice(2)
if (first === 'load') await load(second, key, ports.map(Number))
else {
  await rounds(first, Number(second))
  process.exit(0)
}
