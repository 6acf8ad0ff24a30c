import { writeDocs, writeNodes } from './harness/docs.ts'
import type { Run } from './harness/figures.ts'
import { nodeBinary } from './harness/nodes.ts'
import { commandLine } from './harness/options.ts'
import { resultsOf, save } from './harness/results.ts'
import { runScenes, type Scenes, scenesNamed } from './harness/runner.ts'
import { nodesTable, tables } from './harness/table.ts'

/*
 * npm run bench [-- options]
 *
 *   --quick               the few most telling scenes and contenders, about a minute
 *   --nodes 20,22,24,26   the pools alone on these versions of Node, side by side
 *   --only use            scenes with this in their name
 *   --against tarn,floor  only these contenders, and the one that ratios are formed to
 *   --rounds 9            instead of each scene's own
 *   --write-docs          put the tables and the chart into README.md and docs/
 *   --from latest         take the figures from bench/results/latest.json instead of measuring
 */

const { has, listOf, textOf } = commandLine([
  'quick',
  'nodes',
  'only',
  'against',
  'rounds',
  'write-docs',
  'from',
])
const quick = has('quick')
const [only, against, nodes, from] = [textOf('only'), listOf('against'), listOf('nodes'), textOf('from')]
const rounds = textOf('rounds') === undefined ? undefined : Number(textOf('rounds'))
const few = quick || (nodes !== undefined && only === undefined)
const started = performance.now()

function chosen(): Scenes {
  const scenes = scenesNamed(only ?? '')
  if (only !== undefined) return scenes
  if (nodes !== undefined) return scenes.filter(([, scene]) => scene.eachNode)
  return quick ? scenes.filter(([, scene]) => scene.quickRounds !== undefined) : scenes
}

async function runs(): Promise<Run[]> {
  if (from !== undefined) return resultsOf(from)
  const all: Run[] = []
  for (const version of nodes ?? [undefined]) {
    all.push(await runScenes(chosen(), { node: await nodeBinary(version), quick, few, rounds, against }))
  }
  return all
}

const measured = await runs()
for (const run of measured) {
  process.stdout.write(`\nNode ${run.node}, ${run.machine}, ${run.date}\n`)
  const packages = Object.entries(run.versions).map(each => each.join(' '))
  process.stdout.write(`${packages.join(', ')}\n\n${tables(run.cells, { spread: true })}`)
}
if (measured.length > 1) process.stdout.write(`\n${nodesTable(measured)}`)
process.stdout.write(
  '\nTimes in ns are CPU time. In brackets: the median of the ratios to generic-pool, or to the first column, round by round, and least–most.\n',
)
const part = only !== undefined || against !== undefined
const name = part ? 'part' : quick ? 'quick' : nodes !== undefined ? 'nodes' : 'latest'
if (from === undefined) save(name, measured)
if (has('write-docs')) (nodes === undefined ? writeDocs : writeNodes)()
process.stdout.write(`${Math.round((performance.now() - started) / 1000)} s in all\n`)
