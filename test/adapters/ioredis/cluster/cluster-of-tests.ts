import { after } from 'node:test'
import { startCluster, type TestCluster } from '../../../support/redis-cluster.ts'
import { ensureRedisBinary } from '../../../support/redis-server.ts'

interface ClusterOfTests {
  /** Not there if the tests are skipped. */
  readonly cluster: TestCluster
  readonly nodes: readonly string[]
  /** Why the tests are skipped. */
  readonly skip: string | false
}

interface Wanted {
  /** Why no cluster is wanted. */
  readonly skip?: string | false
  /** Is a primary that is silent to be replaced? Default false. */
  readonly failover?: boolean
  /** As for `startCluster`. */
  readonly start?: Parameters<typeof startCluster>
}

/** The cluster of the tests of a file. It is stopped after the last one. */
export async function clusterOfTests({
  skip: unwanted = false,
  failover = false,
  start = [],
}: Wanted = {}): Promise<ClusterOfTests> {
  const binary = await ensureRedisBinary()
  const skip = 'missing' in binary ? binary.missing : unwanted
  if (skip !== false) return { cluster: undefined as unknown as TestCluster, nodes: [], skip }
  const cluster = await startCluster(...start)
  after(() => cluster.stop())
  if (!failover) await cluster.withoutFailover()
  return { cluster, nodes: cluster.nodes, skip }
}

/** How many error replies of this kind the servers have sent so far, to anybody. */
export async function errorReplies({ servers, admin }: TestCluster, kind: string): Promise<number> {
  const texts = await Promise.all(servers.map(server => admin(server).info('errorstats')))
  const counted = new RegExp(`errorstat_${kind}:count=(\\d+)`)
  return texts.reduce((sum, text) => sum + Number(counted.exec(String(text))?.[1] ?? 0), 0)
}
