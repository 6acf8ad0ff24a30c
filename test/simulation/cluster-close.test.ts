import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isPoolError } from '../../src/index.ts'
import { type ClusterScene, playOnCluster } from './cluster-scene.ts'

/* The end of a cluster's pool in each phase: who waits for the topology learns of it at once, and nothing is asked afterwards. */

type Phase = (scene: ClusterScene) => void
const PHASES: readonly (readonly [what: string, phase: Phase, options?: object])[] = [
  ['while the nodes are dead, in the pause between two questions', ({ cluster }) => each(cluster, 'kill')],
  ['while the nodes are silent', ({ cluster }) => each(cluster, 'freeze')],
  ['while credentials are waited for', () => {}, { credentials: () => new Promise(() => {}) }],
  ['while credentials fail', () => {}, { credentials: () => Promise.reject(new Error('no vault')) }],
]

function each({ nodes }: ClusterScene['cluster'], fault: 'kill' | 'freeze'): void {
  for (const { server } of nodes) server[fault]()
}

describe('a close or drain before the topology is known is told at once', () => {
  for (const how of ['close', 'drain'] as const)
    for (const [what, phase, options] of PHASES)
      test(`to an acquire, a ready and a list of nodes: ${how} ${what}`, async () => {
        // The pause is 100 to 400 ms long, an answer takes up to a second.
        for (let after = 0; after < 1200; after += 70)
          await playOnCluster({ acquireTimeoutMillis: 60_000, ...options }, async scene => {
            const { world, pool, cluster } = scene
            phase(scene)
            let told = 0
            const waits = [
              pool.use({ key: 'foo' }, redis => redis.get('foo')),
              pool.acquire({ key: 'b', role: 'replica' }),
              pool.ready(),
              pool.nodes(),
            ].map(wait =>
              assert.rejects(wait, error => {
                told = Math.max(told, world.now)
                return isPoolError(error, 'POOL_CLOSED')
              }),
            )
            await world.sleep(after)
            const since = world.now
            await pool[how]()
            await Promise.all(waits)
            assert.ok(told - since <= 1, `${told - since} ms, ${after} ms after the first acquire`)
            if (how === 'drain') return
            const tried = (): number => cluster.nodes.reduce((sum, { server }) => sum + server.tried, 0)
            const before = tried()
            await world.sleep(5000)
            assert.equal(tried(), before)
          })
      })
})
