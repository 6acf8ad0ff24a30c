import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { fileOf } from './scenes/index.ts'
import type { Figure } from './scenes/scene.ts'
import { markdown } from './table.ts'

/*
 * node .build/bench/profile.js [scene] [contender]      (after npm run compile)
 *
 * Where the time of a scene goes: runs its process under the sampling profiler of V8 and shares the cost of an
 * operation out among files and functions, by self time. With `--keep` the profile stays, to be opened in the
 * DevTools as a flame graph. What V8 has inlined is counted where it was written.
 */

interface Profile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

const [scene = 'acquire+release, 1 worker, max 10', contender = 'lifeguard-pool'] = process.argv
  .slice(2)
  .filter(word => !word.startsWith('--'))
const folder = mkdtempSync(join(tmpdir(), 'bench-profile-'))
const flags = ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${folder}`, '--expose-gc']
const child = join(import.meta.dirname, 'child.js')
const { stdout } = await promisify(execFile)(
  process.execPath,
  [...flags, child, fileOf(scene), scene, contender, 'full'],
  // The start of the process is to be lost beside it.
  { env: { ...process.env, BENCH_BATCHES: '200' } },
)
const figures = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '[]') as Figure[]
const file = join(folder, readdirSync(folder)[0] as string)
const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile

const self = new Map<number, number>()
for (const [index, id] of profile.samples.entries()) {
  self.set(id, (self.get(id) ?? 0) + (profile.timeDeltas[index] ?? 0))
}
const files = new Map<string, number>()
const functions = new Map<string, number>()
let total = 0
for (const { id, callFrame } of profile.nodes) {
  const { functionName, url, lineNumber } = callFrame
  const micros = self.get(id) ?? 0
  // Start-up and what is not the program: idle, and the modules being read.
  if (micros === 0 || /^\((idle|root)\)$/.test(functionName) || /internal\/modules|node:fs/.test(url))
    continue
  total += micros
  const place =
    url === ''
      ? functionName === '(program)'
        ? '(native code)'
        : functionName
      : url.startsWith('node:')
        ? url
        : basename(url)
  const name = url === '' ? place : `${functionName || '(anonymous)'} ${place}:${lineNumber + 1}`
  files.set(place, (files.get(place) ?? 0) + micros)
  functions.set(name, (functions.get(name) ?? 0) + micros)
}

const cost = figures[0]?.unit === 'ns' ? figures[0].value : undefined
function shares(parts: ReadonlyMap<string, number>, heading: string, most: number): string {
  const sorted = [...parts].sort((a, b) => b[1] - a[1]).slice(0, most)
  return markdown([
    [heading, 'share', 'ns an operation'],
    ...sorted.map(([name, micros]) => [
      name,
      `${((100 * micros) / total).toFixed(1)} %`,
      cost === undefined ? '' : ((cost * micros) / total).toFixed(0),
    ]),
  ])
}
process.stdout.write(`${scene}, ${contender}: ${cost?.toFixed(0) ?? '?'} ns, under the profiler\n\n`)
process.stdout.write(`${shares(files, 'file', 15)}\n${shares(functions, 'function', 25)}`)
if (process.argv.includes('--keep')) process.stdout.write(`\n${file}\n`)
else rmSync(folder, { recursive: true })
