import type { PoolReport } from '../../../diagnostics/pool-report.ts'
import { inText } from '../../../diagnostics/report-text.ts'
import type { RedisClusterStats } from './nodes.ts'

/** The state of the pool of a cluster at one moment, as plain data. */
export interface RedisClusterReport {
  stats: RedisClusterStats
  /** What `reportJson()` of the pool of each node says, in the order of `stats.nodes`. */
  pools: PoolReport[]
}

/** Formats the report for people. */
export function clusterInText({ stats, pools }: RedisClusterReport): string {
  const { name, state, size, idle, borrowed, pending, nodes, topology } = stats
  const { epoch, covered, changes, moved, followed } = topology
  const lines = [
    `pool '${name}' of a Redis Cluster is ${state} (total=${size}, idle=${idle}, borrowed=${borrowed}, pending=${pending})`,
    `  topology: epoch ${epoch}, ${covered} of 16384 slots covered, ${changes} slots assigned or moved so far; ${moved} loans told ` +
      `that their slot has moved, ${followed} commands sent elsewhere`,
    ...nodes.map(({ node, role, slots }) => `  ${node}: ${role}, ${slots} slots`),
  ]
  return [...lines, ...pools.map(inText)].join('\n')
}
