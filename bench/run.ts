import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { chart } from './chart.ts'
import { CONTENDERS, versions } from './contenders.ts'
import { SCENES } from './scenes.ts'
import { type Measured, medianOf, table } from './table.ts'

/*
 * npm run bench [-- --quick] [-- --nodes 20,22,24] [-- --only use] [-- --against tarn,floor]
 *
 * Each contender runs each scene in a process of its own, the contenders in turn, round by round: a machine that is
 * busy for a while slows all of them. What counts is the ratio to generic-pool's median of the same run.
 */

const BASE = 'generic-pool'
const run = promisify(execFile)

function option(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}

const quick = process.argv.includes('--quick')
const rounds = Number(option('rounds') ?? (quick ? 3 : 5))
const only = option('only')
const against = option('against')?.split(',')
/** Few, and the telling ones, when it has to be quick. */
const QUICK = [BASE, 'generic-pool + timeout', 'lightning-pool', 'lifeguard-pool', 'floor']
const QUICK_SCENES = /1 worker, max 10|10 workers|100 workers/

/** The binary of a version of Node: this one, or that of the npm package `node` installed for the purpose. */
async function nodeBinary(version: string | undefined): Promise<string> {
  if (version === undefined || process.versions.node.startsWith(`${version}.`)) return process.execPath
  const folder = join(import.meta.dirname, `../node-${version}`)
  await run('npm', ['install', '--no-save', '--prefix', folder, `node@${version}`])
  return join(folder, 'node_modules/node/bin/node')
}

async function measure(node: string): Promise<Measured[]> {
  const scenes = Object.keys(SCENES).filter(name =>
    only ? name.includes(only) : !quick || QUICK_SCENES.test(name),
  )
  const names = Object.keys(CONTENDERS).filter(name =>
    against ? [BASE, 'lifeguard-pool', ...against].includes(name) : !quick || QUICK.includes(name),
  )
  const measured: Measured[] = []
  for (const scene of scenes) {
    if (!process.stderr.isTTY) process.stderr.write(`${scene} …\n`)
    const own = SCENES[scene]?.onlyOurs === true
    const here = names.filter(name => !own || name === 'lifeguard-pool')
    const values = new Map(here.map(name => [name, [] as number[]]))
    let unit: Measured['unit'] = 'ns'
    for (let round = 1; round <= rounds; round += 1) {
      for (const name of here) {
        if (process.stderr.isTTY)
          process.stderr.write(`\r\u001b[K${scene}: round ${round} of ${rounds}, ${name}`)
        const args = ['--expose-gc', '--no-warnings', join(import.meta.dirname, 'child.js'), name, scene]
        const { stdout } = await run(node, [...args, quick ? 'quick' : 'full'], { timeout: 120_000 })
        const figure = JSON.parse(stdout) as { value: number; unit: Measured['unit'] }
        values.get(name)?.push(figure.value)
        unit = figure.unit
      }
    }
    const base = medianOf(values.get(BASE) ?? [])
    for (const [contender, found] of values) {
      const sorted = found.toSorted((a, b) => a - b)
      const median = medianOf(sorted)
      measured.push({
        scene,
        contender,
        unit,
        median,
        least: sorted.at(0) ?? median,
        most: sorted.at(-1) ?? median,
        ratio: Number.isFinite(base) ? median / base : undefined,
      })
    }
  }
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
  return measured
}

const started = performance.now()
const results = []
for (const version of option('nodes')?.split(',') ?? [undefined]) {
  const node = await nodeBinary(version)
  const { stdout } = await run(node, ['--version'])
  const machine = `Node ${stdout.trim().slice(1)}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${process.platform}`
  const measured = await measure(node)
  results.push({ node: stdout.trim(), machine, versions: versions(), rounds, quick, measured })
  process.stdout.write(`${machine}; medians of ${rounds} rounds, in brackets the ratio to ${BASE}\n\n`)
  process.stdout.write(`${table(measured)}\n`)
}
// The compiled script lies in .build/bench; what it finds belongs beside its source.
const folder = join(import.meta.dirname, '../../bench/results')
mkdirSync(folder, { recursive: true })
writeFileSync(join(folder, quick ? 'quick.json' : 'latest.json'), `${JSON.stringify(results, null, 2)}\n`)
if (!quick && only === undefined && against === undefined) {
  writeFileSync(join(folder, '../../docs/bench.svg'), chart(results))
}
process.stdout.write(`${Math.round((performance.now() - started) / 1000)} s in all\n`)
