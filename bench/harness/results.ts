import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Run } from './figures.ts'

// The compiled script lies in .build/bench; what it finds belongs beside its source.
export const ROOT = join(import.meta.dirname, '../../..')
const fileOf = (name: string): string => join(ROOT, 'bench/results', `${name}.json`)

/** Lists of numbers stay on one line, as the formatter has them. */
export function save(name: string, runs: readonly Run[]): void {
  mkdirSync(join(ROOT, 'bench/results'), { recursive: true })
  const text = JSON.stringify(runs, null, 2).replace(/\[[\s\d.,e+-]+\]/g, list =>
    list.replace(/\s+/g, ' ').replace('[ ', '[').replace(' ]', ']'),
  )
  writeFileSync(fileOf(name), `${text}\n`)
}

export const resultsOf = (name: string): Run[] => JSON.parse(readFileSync(fileOf(name), 'utf8')) as Run[]
