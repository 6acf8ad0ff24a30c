import * as bursts from './bursts.ts'
import * as cluster from './cluster.ts'
import * as cycles from './cycles.ts'
import * as firstLoans from './first-loans.ts'
import * as growth from './growth.ts'
import * as guards from './guards.ts'
import * as memory from './memory.ts'
import * as outages from './outages.ts'
import * as queue from './queue.ts'
import * as recovery from './recovery.ts'
import * as redis from './redis.ts'
import * as restOfProcess from './rest-of-process.ts'
import type { Scene } from './scene.ts'
import * as sockets from './sockets.ts'
import * as telemetry from './telemetry.ts'

/** By file, in the order of a run: a process that runs one scene reads no more than its file. */
const FILES = {
  cycles,
  'first-loans': firstLoans,
  'rest-of-process': restOfProcess,
  guards,
  queue,
  bursts,
  growth,
  memory,
  sockets,
  redis,
  cluster,
  recovery,
  outages,
  telemetry,
}

/** The scenes by name. */
export const SCENES: Readonly<Record<string, Scene>> = Object.assign(
  {},
  ...Object.values(FILES).map(file => file.SCENES),
)

/** The file in which a scene is. */
export function fileOf(scene: string): string {
  const found = Object.entries(FILES).find(([, file]) => Object.hasOwn(file.SCENES, scene))
  if (found === undefined) throw new Error(`no such scene: ${scene}`)
  return found[0]
}
