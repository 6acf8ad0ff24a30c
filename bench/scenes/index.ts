import { BURSTS } from './bursts.ts'
import { CYCLES } from './cycles.ts'
import { GROWTH } from './growth.ts'
import { GUARD_SCENES } from './guards.ts'
import { MEMORY } from './memory.ts'
import { QUEUE } from './queue.ts'
import { RECOVERY } from './recovery.ts'
import { REDIS_SCENES } from './redis.ts'
import type { Scene } from './scene.ts'
import { SOCKETS } from './sockets.ts'

/** The scenes by name, in the order of a run. */
export const SCENES: Readonly<Record<string, Scene>> = {
  ...CYCLES,
  ...GUARD_SCENES,
  ...QUEUE,
  ...BURSTS,
  ...GROWTH,
  ...MEMORY,
  ...SOCKETS,
  ...REDIS_SCENES,
  ...RECOVERY,
}
