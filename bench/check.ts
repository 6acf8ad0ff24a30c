import {
  type Bound,
  contenderOf,
  inWords,
  judge,
  readBounds,
  renewed,
  type Verdict,
  writeBounds,
} from './harness/bounds.ts'
import { type Run, withRounds } from './harness/figures.ts'
import { nodeBinary, versionOf } from './harness/nodes.ts'
import { commandLine } from './harness/options.ts'
import { resultsOf } from './harness/results.ts'
import { runScenes } from './harness/runner.ts'
import { markdown, shown } from './harness/table.ts'
import { SCENES } from './scenes/index.ts'

/*
 * npm run bench:check [-- options]
 *
 * Measures what bench/bounds.json is about, says what is worse than its bound, and then ends with exit code 1. A scene
 * that seems worse is measured again, up to three times, with twice the rounds each time, before that is believed. What
 * counts is the median of all rounds: on a machine that others use, too, it comes closer to the truth with each.
 *
 *   --nodes 20,24     on these versions of Node, instead of this one
 *   --only use        bounds with this in the name of their scene
 *   --from latest     judge bench/results/latest.json instead of measuring
 *   --write-bounds    set the bounds of these versions anew: to the target where it is met, else to what was measured
 *                     and a margin
 */

const { has, listOf, textOf } = commandLine(['nodes', 'only', 'from', 'write-bounds'])
const [nodes, only, from] = [listOf('nodes'), textOf('only'), textOf('from')]
const all = readBounds()
const chosen = all.bounds.filter(({ scene }) => scene.includes(only ?? ''))
if (chosen.length === 0) throw new Error(`no bound for ${only}`)

/** Measures what the bounds are about, in so many times the usual rounds. */
async function cellsOf(bounds: readonly Bound[], node: string, more: number): Promise<Run> {
  const scenes = [...new Set(bounds.map(({ scene }) => scene))].map(name => {
    const scene = SCENES[name]
    if (scene === undefined) throw new Error(`bench/bounds.json: there is no scene ${name}`)
    const own = bounds.filter(bound => bound.scene === name)
    const named = new Set(
      own.flatMap(bound => [contenderOf(bound), bound.to ?? bound.above ?? contenderOf(bound)]),
    )
    // Only whom the bounds speak of.
    return [name, { ...scene, contenders: [...named], rounds: scene.rounds * more }] as const
  })
  return await runScenes(scenes, { node, quick: false })
}

/** The last attempt has so many times the usual rounds. */
const MOST_MORE = 8

async function check(node: string): Promise<Verdict[]> {
  if (from !== undefined) {
    const run = resultsOf(from).at(-1)
    if (run === undefined) throw new Error(`bench/results/${from}.json is empty`)
    return chosen.map(bound => judge(bound, run.cells, run.node))
  }
  const run = await cellsOf(chosen, node, 1)
  let { cells } = run
  const verdicts = (): Verdict[] => chosen.map(bound => judge(bound, cells, run.node))
  for (let more = 2; more <= MOST_MORE && !has('write-bounds'); more *= 2) {
    const doubtful = new Set(verdicts().flatMap(({ met, bound }) => (met ? [] : [bound.scene])))
    if (doubtful.size === 0) break
    process.stderr.write(`again, with ${more} times the rounds: ${[...doubtful].join('; ')}\n`)
    const again = await cellsOf(
      chosen.filter(({ scene }) => doubtful.has(scene)),
      node,
      more,
    )
    cells = withRounds(cells, again.cells)
  }
  return verdicts()
}

const asBound = ({ bound: { target }, limit: { atMost, basis }, unit }: Verdict): string =>
  `≤ ${shown(atMost, unit)}${basis === 'target' ? '' : target === undefined ? ' (as measured)' : ` (as measured; target ${shown(target, unit)})`}`

let worse = 0
for (const version of nodes ?? [undefined]) {
  const node = await nodeBinary(version)
  const verdicts = await check(node)
  const lines = verdicts.map(verdict => [
    verdict.met ? 'ok' : verdict.found === undefined ? 'MISSING' : 'WORSE',
    inWords(verdict.bound),
    verdict.found === undefined ? '' : shown(verdict.found, verdict.unit),
    asBound(verdict),
  ])
  process.stdout.write(
    `\nNode ${await versionOf(node)}\n\n${markdown([['', 'scene', 'found', 'bound'], ...lines])}`,
  )
  const bad = verdicts.filter(({ met }) => !met)
  worse += bad.length
  for (const verdict of bad) {
    const found = verdict.found === undefined ? 'nothing measured' : shown(verdict.found, verdict.unit)
    process.stdout.write(`worse: ${inWords(verdict.bound)}: ${found}, bound ${asBound(verdict)}\n`)
  }
  if (has('write-bounds')) {
    // Read again: another version may have been measured just now.
    const known = readBounds()
    const version = await versionOf(node)
    const anew = new Map(verdicts.map(verdict => [inWords(verdict.bound), verdict]))
    const bounds = known.bounds.map(bound => {
      const verdict = anew.get(inWords(bound))
      return verdict === undefined ? bound : renewed({ ...verdict, bound }, version)
    })
    writeBounds({ ...known, bounds })
    worse = 0
  }
}
const verdict = worse === 0 ? 'All bounds hold.' : `${worse} of the bounds do not hold.`
process.stdout.write(`${has('write-bounds') ? 'bench/bounds.json is set anew.' : verdict}\n`)
process.exitCode = worse === 0 ? 0 : 1
