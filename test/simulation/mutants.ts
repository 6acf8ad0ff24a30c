/*
 * Past faults of this package as patches on the sources of today. Each is compiled into a copy of the search, and the copy
 * has to find it. A patch is a unified diff without line numbers: what it takes away is found by its text.
 */

import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { packageRoot } from '../support/package-root.ts'

const folder = join(packageRoot(), 'test/simulation/mutants')
const scratch = join(packageRoot(), '.build-mutants')
/** Longest time for one mutant. */
const MOST_MILLIS = 240_000

export interface Mutant {
  readonly name: string
  readonly title: string
  /** Below the root of the package. */
  readonly file: string
  readonly hunks: readonly { readonly before: string; readonly after: string }[]
}

export function readMutants(): Mutant[] {
  return readdirSync(folder)
    .filter(name => name.endsWith('.patch'))
    .sort()
    .map(name => {
      const text = readFileSync(join(folder, name), 'utf8')
      const [head = '', ...parts] = text.split(/^@@\n/m)
      return {
        name: name.replace('.patch', ''),
        title: head.split('\n')[0] ?? '',
        file: /^--- (.*)$/m.exec(head)?.[1] ?? '',
        hunks: parts.map(part => ({ before: side(part, '-'), after: side(part, '+') })),
      }
    })
}

const side = (hunk: string, sign: '-' | '+'): string =>
  hunk
    .replace(/\n$/, '')
    .split('\n')
    .filter(line => line.startsWith(' ') || line.startsWith(sign))
    .map(line => line.slice(1))
    .join('\n')

/** @throws Error if the sources have changed so that the patch has no place any more */
export function mutated({ name, file, hunks }: Mutant): string {
  let text = readFileSync(join(packageRoot(), file), 'utf8')
  for (const { before, after } of hunks) {
    const places = text.split(before).length - 1
    if (places !== 1)
      throw new Error(`${name} fits ${places} places of ${file}: write it anew for the source of today`)
    text = text.replace(before, () => after)
  }
  return text
}

/** Compiles the search with a mutant, or without one, into a program of its own. @returns its path */
export async function compileHunt(mutant: Mutant | undefined): Promise<string> {
  const outfile = join(scratch, `${mutant?.name ?? 'original'}.mjs`)
  mkdirSync(scratch, { recursive: true })
  const contents = mutant === undefined ? '' : mutated(mutant)
  await build({
    entryPoints: [join(packageRoot(), 'test/simulation/hunt-main.ts')],
    ...{ outfile, bundle: true, platform: 'node', format: 'esm', target: 'node20', packages: 'external' },
    logLevel: 'error',
    plugins: [
      {
        name: 'mutant',
        setup: ({ onLoad }) =>
          onLoad({ filter: /\.ts$/ }, ({ path }) =>
            mutant !== undefined && path === join(packageRoot(), mutant.file)
              ? { contents, loader: 'ts' }
              : undefined,
          ),
      },
    ],
  })
  return outfile
}

/** @returns how the mutant was found; undefined if it was not */
export async function huntFor(mutant: Mutant | undefined): Promise<string | undefined> {
  const program = await compileHunt(mutant)
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [program], { timeout: MOST_MILLIS })
    const { found } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as { found?: string | null }
    return found ?? undefined
  } catch (error) {
    const { killed, message } = error as { killed?: boolean; message: string }
    return killed ? `it did not end within ${MOST_MILLIS / 1000} s` : `it crashed: ${message.split('\n')[0]}`
  }
}
