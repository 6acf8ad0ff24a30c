import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { fileOf } from '../scenes/index.ts'
import type { Figure, Scene } from '../scenes/scene.ts'
import type { Cell } from './figures.ts'
import type { Progress } from './progress.ts'

const execute = promisify(execFile)
const PATIENCE_MILLIS = 20_000

/** How a scene is to be run. */
export interface Plan {
  /** The binary of Node. */
  readonly node: string
  readonly quick: boolean
  /** Leave out the contenders that tell least. */
  readonly few?: boolean
  /** Instead of the scene's own. */
  readonly rounds?: number | undefined
  /** Only these contenders, and the base. */
  readonly against?: readonly string[] | undefined
}

export const roundsOf = (scene: Scene, { quick, rounds }: Plan): number =>
  rounds ?? (quick ? (scene.quickRounds ?? scene.rounds) : scene.rounds)

/** Few contenders, and the telling ones, when it has to be quick. */
const TELLING = /^(?!generic-pool \+ p-timeout|tarn|sequelize-pool)/

export function contendersOf(scene: Scene, { few, against }: Plan): string[] {
  const wanted = (name: string): boolean =>
    against === undefined ? !few || TELLING.test(name) : against.includes(name) || name === baseOf(scene)
  return scene.contenders.filter(wanted)
}

export const baseOf = (scene: Scene): string => scene.base ?? 'generic-pool'

async function once(name: string, scene: Scene, contender: string, plan: Plan): Promise<Figure[]> {
  const flags = ['--expose-gc', '--no-warnings', ...(scene.flags ?? [])]
  const child = join(import.meta.dirname, 'child.js')
  const args = [child, fileOf(name), name, contender, plan.quick ? 'quick' : 'full']
  const { stdout } = await execute(plan.node, [...flags, ...args], {
    timeout: scene.patience ?? PATIENCE_MILLIS,
    maxBuffer: 1e8,
  })
  const line = stdout.trimEnd().split('\n').at(-1)
  if (!line?.startsWith('[')) throw new Error('ended without a figure')
  return JSON.parse(line) as Figure[]
}

/** In few words why a process gave no figures. */
function reasonOf(error: unknown, scene: Scene): string {
  const { killed, stderr } = error as { killed?: boolean; stderr?: string }
  if (killed === true) return `> ${(scene.patience ?? PATIENCE_MILLIS) / 1000} s`
  return stderr?.match(/^\w*Error: .*$/m)?.[0] ?? String((error as Error).message).split('\n')[0] ?? 'failed'
}

/** Runs a scene: every contender in a process of its own, one after the other, round by round. */
export async function measure(name: string, scene: Scene, plan: Plan, progress: Progress): Promise<Cell[]> {
  const contenders = contendersOf(scene, plan)
  const rounds = roundsOf(scene, plan)
  const cells = new Map<string, Cell & { values: number[]; walls: number[] }>()
  const failed = new Map<string, string>()
  const common = { group: scene.group, base: baseOf(scene) }
  for (let round = 0; round < rounds; round += 1) {
    for (let place = 0; place < contenders.length; place += 1) {
      // Not always in the same order: whoever comes after a heavy one may suffer from it.
      const contender = contenders[(place + round) % contenders.length] as string
      progress.step(`${name}: round ${round + 1} of ${rounds}, ${contender}`)
      if (failed.has(contender)) continue
      try {
        for (const { row, unit, value, wall } of await once(name, scene, contender, plan)) {
          const key = JSON.stringify([row, contender])
          const cell = cells.get(key) ?? { ...common, row, contender, unit, values: [], walls: [] }
          cells.set(key, cell)
          cell.values.push(rounded(value))
          if (wall !== undefined) cell.walls.push(rounded(wall))
        }
      } catch (error) {
        failed.set(contender, reasonOf(error, scene))
        if (!failed.get(contender)?.startsWith('>')) {
          progress.note(`${name}, ${contender}: ${failed.get(contender)}`)
        }
      }
    }
  }
  const rows = new Map([...cells.values()].map(cell => [cell.row, cell.unit]))
  const places = (cell: Cell): number => contenders.indexOf(cell.contender)
  return [...rows].flatMap(([row, unit]) =>
    [
      ...[...cells.values()].filter(cell => cell.row === row).map(tidy),
      ...[...failed]
        // Given up before it showed anything.
        .filter(([contender]) => ![...cells.values()].some(cell => cell.contender === contender))
        .map(([contender, why]) => ({ ...common, row, unit, contender, values: [], failed: why })),
    ].toSorted((a, b) => places(a) - places(b)),
  )
}

function tidy({ walls = [], ...cell }: Cell): Cell {
  return walls.length === 0 ? cell : { ...cell, walls }
}

/** Four digits: more would only look precise. */
const rounded = (value: number): number => Number(value.toPrecision(4))
