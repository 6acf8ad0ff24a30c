import { cpus, totalmem } from 'node:os'
import { ensureRedisBinary, type RedisServer, startRedis } from '../../test/support/redis-server.ts'
import { versions } from '../contenders/pools.ts'
import { SCENES } from '../scenes/index.ts'
import type { Scene } from '../scenes/scene.ts'
import type { Cell, Run } from './figures.ts'
import { contendersOf, measure, type Plan, roundsOf } from './measure.ts'
import { versionOf } from './nodes.ts'
import { Progress } from './progress.ts'

export type Scenes = readonly (readonly [string, Scene])[]

/** The scenes by part of their name or group. */
export function scenesNamed(part: string): Scenes {
  return Object.entries(SCENES).filter(([name, { group }]) => name.includes(part) || group.includes(part))
}

/** Starts a Redis server for the scenes that need one; without a server they are left out. */
async function redisFor(scenes: Scenes, progress: Progress): Promise<RedisServer | undefined> {
  if (!scenes.some(([, scene]) => scene.redis)) return undefined
  const binary = await ensureRedisBinary()
  if ('path' in binary) return startRedis()
  progress.note(`No Redis server, so nothing is measured end to end. ${binary.missing}`)
  return undefined
}

/** Runs the scenes on one version of Node. */
export async function runScenes(scenes: Scenes, plan: Plan): Promise<Run> {
  const steps = scenes.map(([, scene]) => roundsOf(scene, plan) * contendersOf(scene, plan).length)
  const progress = new Progress(steps.reduce((sum, count) => sum + count, 0))
  const server = await redisFor(scenes, progress)
  const cells: Cell[] = []
  try {
    if (server !== undefined) process.env.BENCH_REDIS = server.url
    for (const [name, scene] of scenes) {
      if (scene.redis && server === undefined) continue
      cells.push(...(await measure(name, scene, plan, progress)))
    }
  } finally {
    await server?.stop()
  }
  progress.clear()
  const node = await versionOf(plan.node)
  return {
    node,
    machine: machine(),
    date: new Date().toISOString().slice(0, 10),
    quick: plan.quick,
    versions: versions(),
    cells,
  }
}

function machine(): string {
  const all = cpus()
  const model = all[0]?.model.trim() ?? 'unknown CPU'
  return `${all.length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${process.arch}`
}
