/*
 * What was found of each fault, in tried.txt: a line for each file, with a letter for each of its faults in their order.
 * So a run on another machine goes on from there. A file that has changed since then is tried anew.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'

export type End = 'killed' | 'hung' | 'survived' | 'not executed'

const LETTERS = new Map<string, End>([
  ['k', 'killed'],
  ['h', 'hung'],
  ['s', 'survived'],
  ['n', 'not executed'],
])
const UNTRIED = '-'

export class Tried {
  readonly #path: string
  readonly #lines = new Map<string, string>()

  constructor(path: string) {
    this.#path = path
    const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
    for (const line of text.split('\n')) {
      const [file, ...rest] = line.split(' ')
      if (file !== undefined && rest.length === 2) this.#lines.set(file, rest.join(' '))
    }
  }

  /** @param hash - of the compiled file, @param index - which of its faults */
  endOf(file: string, hash: string, index: number): End | undefined {
    const [known, letters] = this.#lines.get(file)?.split(' ') ?? []
    return known === hash ? LETTERS.get(letters?.[index] ?? UNTRIED) : undefined
  }

  set(file: string, hash: string, ends: readonly (End | undefined)[]): void {
    const letters = ends.map(end => [...LETTERS].find(([, each]) => each === end)?.[0] ?? UNTRIED)
    this.#lines.set(file, `${hash} ${letters.join('')}`)
  }

  /** Those of files that are gone are left out. */
  write(isThere: (file: string) => boolean): void {
    const lines = [...this.#lines].filter(([file]) => isThere(file)).map(line => `${line.join(' ')}\n`)
    writeFileSync(this.#path, lines.sort().join(''))
  }
}
