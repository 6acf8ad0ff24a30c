/* Where a fault lies in the sources, and which ones are explained in survivors.md. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { join } from 'node:path'
import { Script } from 'node:vm'
import { API } from 'typescript/unstable/sync'
import { packageRoot } from '../support/package-root.ts'
import { type Mutation, mutated, mutationsOf } from './mutations.ts'

/** Read once: a compile may take the compiled files away while a run goes on. */
const home = packageRoot()

export interface Place {
  /** The file below `src`, and the line. */
  readonly where: string
  readonly file: string
  /** The kind of the fault, and what it replaces. */
  readonly fault: string
  /** The line of the source. */
  readonly line: string
}

/** The faults of a room, without those that could not even be compiled. */
export function readMutations(root: string, room: string, only: string): Mutation[] {
  const files = readdirSync(join(root, 'src', room), { encoding: 'utf8' })
    .filter(name => name.endsWith('.js'))
    .map(name => join(room, name))
    .filter(name => name.includes(only))
    .sort()
  const config = join(root, 'faults.tsconfig.json')
  const compilerOptions = { allowJs: true, noResolve: true, noLib: true, types: [], noEmit: true }
  writeFileSync(
    config,
    JSON.stringify({ compilerOptions, files: files.map(file => join(root, 'src', file)) }),
  )
  const api = new API({ cwd: home })
  try {
    const program = api.updateSnapshot({ openProjects: [config] }).getProject(config)?.program
    return files.flatMap(file => {
      const source = program?.getSourceFile(join(root, 'src', file))
      if (source === undefined) throw new Error(`${file} could not be read`)
      return mutationsOf(file, source).filter(mutation => isProgram(mutated(source.text, mutation)))
    })
  } finally {
    api.close()
  }
}

function isProgram(text: string): boolean {
  try {
    new Script(`(function (exports, require, module) {${text}\n})`)
    return true
  } catch {
    return false
  }
}

export class Places {
  readonly #root: string
  readonly #maps = new Map<string, SourceMap>()

  constructor(root: string) {
    this.#root = root
  }

  of({ file, start, end, by, kind }: Mutation): Place {
    const path = join(this.#root, 'src', file)
    const text = readFileSync(path, 'utf8')
    const before = text.slice(0, start).split('\n')
    let map = this.#maps.get(file)
    if (map === undefined) {
      map = new SourceMap(JSON.parse(readFileSync(`${path}.map`, 'utf8')))
      this.#maps.set(file, map)
    }
    const entry = map.findEntry(before.length - 1, before.at(-1)?.length ?? 0)
    const row = 'originalLine' in entry ? entry.originalLine : 0
    const source = file.replace(/\.js$/, '.ts')
    const lines = readFileSync(join(home, 'src', source), 'utf8').split('\n')
    const what = text.slice(start, end).replaceAll(/\s+/g, ' ').slice(0, 60)
    const fault = kind === 'bound' || kind === 'operator' ? `\`${what}\` → \`${by}\`` : `${kind}: \`${what}\``
    return { where: `${source}:${row + 1}`, file: source, fault, line: `\`${(lines[row] ?? '').trim()}\`` }
  }
}

/** Reads which faults are explained: those with a line in a table of survivors.md that begins with these three cells. */
export function explained(): (place: Place) => boolean {
  const text = readFileSync(join(home, 'test/mutation/survivors.md'), 'utf8')
  const rows = new Set(
    text
      .split('\n')
      .filter(line => line.startsWith('| `'))
      .map(line => cells(line).slice(0, 3).join(' | ')),
  )
  return ({ file, fault, line }) => rows.has([`\`${file}\``, fault, line].join(' | '))
}

/** The cells of a row, in which a vertical bar is written with a backslash. */
const cells = (row: string): string[] =>
  row
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map(cell => cell.trim().replaceAll('\\|', '|'))
