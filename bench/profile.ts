import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { rewrite } from './harness/docs.ts'
import { markdown } from './harness/table.ts'
import { fileOf } from './scenes/index.ts'
import type { Figure } from './scenes/scene.ts'

/*
 * node .build/bench/profile.js [scene] [contender]      (after npm run compile)
 *
 * Where the time of a scene goes: runs its process under the sampling profiler of V8 and shares the cost of an
 * operation out among files and functions, by self time. What V8 has inlined is counted where it was written. With
 * `--keep` the profile stays, to be opened in the DevTools as a flame graph; `--write-docs` puts the two that are told
 * of into docs/performance.md.
 */

interface Profile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

interface Costs {
  readonly title: string
  readonly files: string
  readonly functions: string
  /** Where the profile is, if it was to stay. */
  readonly kept: string | undefined
}

async function profiled(scene: string, contender: string, keep = false): Promise<Costs> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-profile-'))
  const flags = ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${folder}`, '--expose-gc']
  const child = join(import.meta.dirname, 'harness/child.js')
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...flags, child, fileOf(scene), scene, contender, 'full'],
    // The start of the process is to be lost beside it.
    { env: { ...process.env, BENCH_BATCHES: '200' } },
  )
  const figures = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '[]') as Figure[]
  const file = join(folder, readdirSync(folder)[0] as string)
  const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile
  if (!keep) rmSync(folder, { recursive: true })
  const nanos = figures[0]?.unit === 'ns' ? figures[0].value : undefined
  return {
    title: `${scene}, ${contender}: ${nanos?.toFixed(0) ?? '?'} ns under the profiler`,
    ...shared(profile, nanos),
    kept: keep ? file : undefined,
  }
}

function shared({ nodes, samples, timeDeltas }: Profile, nanos: number | undefined) {
  const self = new Map<number, number>()
  for (const [index, id] of samples.entries()) self.set(id, (self.get(id) ?? 0) + (timeDeltas[index] ?? 0))
  const files = new Map<string, number>()
  const functions = new Map<string, number>()
  let total = 0
  for (const { id, callFrame } of nodes) {
    const { functionName, url, lineNumber } = callFrame
    const micros = self.get(id) ?? 0
    // Not the program: idle, and the modules being read.
    if (micros === 0 || /^\((idle|root)\)$/.test(functionName) || url.includes('internal/modules')) continue
    total += micros
    const native = functionName === '(program)' ? '(native code)' : functionName
    const place = url === '' ? native : url.startsWith('node:') ? url : basename(url)
    const name = url === '' ? place : `${functionName || '(anonymous)'} ${place}:${lineNumber + 1}`
    files.set(place, (files.get(place) ?? 0) + micros)
    functions.set(name, (functions.get(name) ?? 0) + micros)
  }
  const lines = (parts: ReadonlyMap<string, number>, heading: string, most: number): string =>
    markdown([
      [heading, 'share', 'ns a cycle'],
      ...[...parts]
        .sort((a, b) => b[1] - a[1])
        .slice(0, most)
        .map(([name, micros]) => [
          name,
          `${((100 * micros) / total).toFixed(1)} %`,
          nanos === undefined ? '' : ((nanos * micros) / total).toFixed(0),
        ]),
    ])
  return { files: lines(files, 'file', 14), functions: lines(functions, 'function', 25) }
}

const given = process.argv.slice(2).filter(word => !word.startsWith('--'))
if (process.argv.includes('--write-docs')) {
  const parts: Record<string, string> = {}
  for (const [name, scene] of [
    ['bench:profile', 'acquire+release, 1 worker, max 10'],
    ['bench:profile-queue', 'acquire+release, 100 workers, max 10'],
  ] as const) {
    const { title, files } = await profiled(scene, 'lifeguard-pool')
    parts[name] = `${title}, Node ${process.versions.node}.\n\n${files}`
  }
  rewrite('docs/performance.md', parts)
} else {
  const [scene = 'acquire+release, 1 worker, max 10', contender = 'lifeguard-pool'] = given
  const { title, files, functions, kept } = await profiled(scene, contender, process.argv.includes('--keep'))
  process.stdout.write(`${title}\n\n${files}\n${functions}\n${kept ?? ''}\n`)
}
