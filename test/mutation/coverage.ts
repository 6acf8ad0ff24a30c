/* Which test files execute which parts of which compiled sources: each is run once, with the coverage of V8. */

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { play } from './play.ts'

/** What one test file executes. */
export interface Covered {
  /** Of the text of the test file: when it changes, it is measured anew. */
  readonly hash: string
  readonly millis: number
  /** A test that is red without a fault proves nothing. */
  readonly red: string | undefined
  /** By file below the folder of compiled sources: executed from, to, from, to, … */
  readonly sources: Record<string, { readonly hash: string; readonly executed: readonly number[] }>
}

interface V8Coverage {
  readonly result: readonly {
    readonly url: string
    readonly functions: readonly {
      readonly ranges: readonly {
        readonly startOffset: number
        readonly endOffset: number
        readonly count: number
      }[]
    }[]
  }[]
}

const MOST_MILLIS = 240_000
/** A file that takes longer is not run twice. */
const SLOW_MILLIS = 3_000

/** In the copy: a compile meanwhile must not take it away. */
export const reporterOf = (root: string): string => join(root, 'test/mutation/first-red.js')

export const hashOf = (path: string): string =>
  existsSync(path) ? createHash('sha1').update(readFileSync(path)).digest('hex').slice(0, 12) : ''

interface Measuring {
  /** The copy of what is compiled. */
  readonly root: string
  readonly tests: readonly string[]
  /** Where what is known is kept. */
  readonly folder: string
  readonly lanes: number
  /** The time of day after which no test is begun. */
  readonly until: number
  say(line: string): void
}

/** Measures what is not known yet, and keeps it. */
export async function measureCoverage({
  root,
  tests,
  folder,
  lanes,
  until,
  say,
}: Measuring): Promise<Map<string, Covered>> {
  const path = join(folder, 'coverage.json')
  const known: Record<string, Covered> = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {}
  const isFresh = (test: string): boolean => {
    const covered = known[test]
    return covered?.red === undefined && covered?.hash === hashOf(join(root, 'test', test))
  }
  const missing = tests.filter(test => !isFresh(test))
  if (missing.length > 0) say(`${missing.length} test files are run once, to see what they execute`)
  await inLanes(lanes, missing, async (test, lane) => {
    if (Date.now() > until) return
    const covered = await measure(root, test, join(folder, `lane-${lane}`))
    known[test] = covered
    writeFileSync(path, JSON.stringify(known))
    if (covered.red !== undefined) say(`  ${test} is red without a fault, and left out: ${covered.red}`)
  })
  const hashes = new Map<string, string>()
  const current = (file: string): string => {
    const hash = hashes.get(file) ?? hashOf(join(root, 'src', file))
    hashes.set(file, hash)
    return hash
  }
  const covering = new Map<string, Covered>()
  for (const test of tests) {
    const covered = known[test]
    if (covered !== undefined) covering.set(test, withoutStale(covered, current))
  }
  return covering
}

/** Does something with each, in order, so many at a time. */
export async function inLanes<E>(
  lanes: number,
  all: readonly E[],
  each: (one: E, lane: number) => Promise<void>,
): Promise<void> {
  const rest = all.values()
  const work = async (lane: number): Promise<void> => {
    for (const one of rest) await each(one, lane)
  }
  await Promise.all(Array.from({ length: lanes }, (_, lane) => work(lane)))
}

/** Of a source that has changed since it was measured, a test that executes any part is taken to execute all. */
function withoutStale(covered: Covered, current: (file: string) => string): Covered {
  const sources = Object.entries(covered.sources).map(([file, { hash, executed }]) => [
    file,
    hash === current(file) ? { hash, executed } : { hash, executed: [0] },
  ])
  return { ...covered, sources: Object.fromEntries(sources) }
}

async function measure(root: string, test: string, folder: string): Promise<Covered> {
  const scratch = join(folder, 'v8')
  rmSync(scratch, { recursive: true, force: true })
  mkdirSync(scratch, { recursive: true })
  const file = join(root, 'test', test)
  const env = { NODE_V8_COVERAGE: scratch }
  const reporter = reporterOf(root)
  const limits = { reporter, scratch: folder, limitMillis: MOST_MILLIS }
  const { red, millis } = await play(file, { ...limits, env, toTheEnd: true })
  const masks = new Map<string, Uint8Array>()
  for (const name of readdirSync(scratch)) if (name.endsWith('.json')) paint(join(scratch, name), root, masks)
  // Its time without coverage. A second green run also shows that it is not red by chance.
  const again = red === undefined && millis < SLOW_MILLIS ? await play(file, limits) : undefined
  return {
    hash: hashOf(file),
    millis: Math.round(again?.millis ?? millis),
    red: red ?? again?.red,
    sources: Object.fromEntries(
      [...masks].map(([source, mask]) => [
        source,
        { hash: hashOf(join(root, 'src', source)), executed: segments(mask) },
      ]),
    ),
  }
}

/** Adds what one process has executed. A process that was killed has written nothing or half of it. */
function paint(path: string, root: string, masks: Map<string, Uint8Array>): void {
  let read: V8Coverage
  try {
    read = JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return
  }
  for (const { url, functions } of read.result) {
    if (!url.startsWith('file:')) continue
    const file = relative(join(root, 'src'), fileURLToPath(url))
    if (file.startsWith('..') || !existsSync(join(root, 'src', file))) continue
    const length = readFileSync(join(root, 'src', file), 'utf8').length
    const own = new Uint8Array(length)
    // Outer ranges come first, or begin with an inner one and end later.
    const ranges = functions
      .flatMap(one => one.ranges)
      .sort((a, b) => a.startOffset - b.startOffset || b.endOffset - a.endOffset)
    for (const { startOffset, endOffset, count } of ranges)
      own.fill(count > 0 ? 1 : 0, startOffset, endOffset)
    const mask = masks.get(file) ?? new Uint8Array(length)
    masks.set(
      file,
      mask.map((value, index) => value | (own[index] ?? 0)),
    )
  }
}

function segments(mask: Uint8Array): number[] {
  const found: number[] = []
  mask.forEach((value, index) => {
    if (value !== (index === 0 ? 0 : mask[index - 1])) found.push(index)
  })
  return found
}

/** Does the test execute this place? */
export function executes({ sources }: Covered, file: string, offset: number): boolean {
  const executed = sources[file]?.executed ?? []
  return executed.filter(at => at <= offset).length % 2 === 1
}
