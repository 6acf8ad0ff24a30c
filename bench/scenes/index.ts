import { CYCLES } from './cycles.ts'
import { QUEUE } from './queue.ts'
import type { Scene } from './scene.ts'

/** The scenes by name, in the order of a run. */
export const SCENES: Readonly<Record<string, Scene>> = { ...CYCLES, ...QUEUE }
