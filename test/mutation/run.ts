/*
 * `npm run test:mutants -- ROOM …`: puts small faults into the compiled sources of a room, one at a time, and runs the test
 * files that execute the place, those of the room first, until one is red. A fault that none notices is listed.
 *   --sample N      so many of each room in all, chosen by chance (default: all)
 *   --seed N        of that chance (default 1)
 *   --seconds N     of test runs for each fault, at most (default 60)
 *   --minutes N     in all, at most; what is found is kept, and the next run goes on from there
 *   --only TEXT     only files whose path contains this
 *   --lanes N       so many at once (default 1): most tests wait most of the time
 *   --again         those that have survived are tried again
 * It works on a copy of what is compiled, in .build-mutated, where it also keeps what it has found, and by which test. What
 * each test file executes is measured once: remove that folder to measure it anew. How each fault has ended is kept in
 * tried.txt as well, so that a run elsewhere does not begin from nothing.
 */

import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../support/package-root.ts'
import { Chance } from '../support/random.ts'
import { BINARY_VARIABLE, ensureRedisBinary } from '../support/redis-binary.ts'
import { type Covered, executes, hashOf, inLanes, measureCoverage, reporterOf } from './coverage.ts'
import { type Mutation, mutated } from './mutations.ts'
import { explained, Places, readMutations } from './places.ts'
import { play } from './play.ts'
import { type End, Tried } from './record.ts'

const ROOMS = ['queue', 'connections', 'connecting', 'health', 'nested', 'adapters/ioredis/handle']
/** Where the tests of a room lie, if not in the folder of its name. */
const HOMES = new Map([['adapters/ioredis/handle', 'adapters/ioredis']])
/** Tests of documents, of what is published, of other programs and of what is told of a pool say nothing of a room. */
const NO_TESTS = new RegExp(
  `^(?:${[
    ...['api', 'architecture', 'cli', 'diagnostics', 'docs', 'examples', 'mutation', 'package', 'support'],
    ...['adapters/otel', 'adapters/prometheus', 'adapters/ioredis/cluster', 'drop-in/hazards', 'faults/'],
    ...['adapters/ioredis/sentinel', 'adapters/ioredis/stale-sentinels', 'real-time', 'simulation/mutants'],
  ].join('|')})`,
)
/** A test may take so much longer than without a fault before it counts as hung. */
const limitOf = (millis: number): number => 5_000 + 4 * millis

interface Outcome {
  readonly end: End
  readonly by?: string
  /** Test files that execute the place, and were not run for lack of time. */
  readonly left?: number
}

const words = process.argv.slice(2)
const after = (flag: string): string | undefined => {
  const at = words.indexOf(flag)
  return at < 0 ? undefined : words.splice(at, 2)[1]
}
const sample = Number(after('--sample') ?? Number.POSITIVE_INFINITY)
const seed = Number(after('--seed') ?? 1)
const mostMillis = Number(after('--seconds') ?? 60) * 1_000
const until = Date.now() + Number(after('--minutes') ?? 600) * 60_000
const only = after('--only') ?? ''
const lanes = Number(after('--lanes') ?? 1)
const again = words.includes('--again')
const rooms = words.filter(word => !word.startsWith('--'))
const say = (line: string): void => void process.stdout.write(`${line}\n`)

const home = join(packageRoot(), '.build-mutated')
/** One copy stays sound, and there is one for each fault that is tried at the same time. */
const root = join(home, 'sound')
const copies = Array.from({ length: lanes }, (_, lane) => join(home, String(lane)))
const folder = join(home, 'mutation')
mkdirSync(folder, { recursive: true })
// Two runs in one copy would try each other's faults.
const lock = join(folder, 'pid')
if (existsSync(lock) && isRunning(Number(readFileSync(lock, 'utf8')))) {
  say('Another run is under way in .build-mutated: wait for its end')
  process.exit(1)
}
writeFileSync(lock, String(process.pid))
for (const copy of [root, ...copies])
  for (const part of ['src', 'test', 'bench', 'examples']) {
    rmSync(join(copy, part), { recursive: true, force: true })
    if (existsSync(join(packageRoot(), '.build', part)))
      cpSync(join(packageRoot(), '.build', part), join(copy, part), { recursive: true })
  }

const binary = await ensureRedisBinary()
if ('path' in binary) process.env[BINARY_VARIABLE] = binary.path

const tests = readdirSync(join(packageRoot(), '.build/test'), { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.test.js') && !NO_TESTS.test(name))
  .sort()
const reporter = reporterOf(root)
const coverage = await measureCoverage({ root, tests, folder, lanes, until, say })

const resultsPath = join(folder, 'results.json')
const results: Record<string, Outcome> = existsSync(resultsPath)
  ? JSON.parse(readFileSync(resultsPath, 'utf8'))
  : {}
const tried = new Tried(join(packageRoot(), 'test/mutation/tried.txt'))
/** How often a test file has noticed a fault, in a file and in all: it is likely to notice the next one. */
const finds = new Map<string, number>()
const findsOf = (key: string): number => finds.get(key) ?? 0
function noticed(file: string, test: string): void {
  for (const key of [`${file} ${test}`, test]) finds.set(key, findsOf(key) + 1)
}
for (const [key, { by }] of Object.entries(results))
  if (by !== undefined) noticed(key.split(' ')[1] ?? '', by.split(':')[0] ?? '')

/** A test file of the room itself that takes less asks exact questions, and is tried before all others. */
const EXACT_MILLIS = 800

/** The test files that execute the place: the exact ones of the room, then the most promising for their time. */
function testsFor({ file, start }: Mutation, room: string): [string, Covered][] {
  const own = `${HOMES.get(room) ?? room}/`
  const worth = ([name, { millis }]: [string, Covered]): number => {
    const found = findsOf(`${file} ${name}`) + findsOf(name) / 10
    const isExact = name.startsWith(`${room}/`) && millis < EXACT_MILLIS
    return (isExact ? 1e6 : 0) + (found + (name.startsWith(own) ? 2 : 0.2)) / (300 + millis)
  }
  return [...coverage]
    .filter(([, covered]) => covered.red === undefined && executes(covered, file, start))
    .sort((a, b) => worth(b) - worth(a))
}

async function attempt(mutation: Mutation, room: string, copy: string): Promise<Outcome> {
  const chosen = testsFor(mutation, room)
  if (chosen.length === 0) return { end: 'not executed' }
  const path = join(copy, 'src', mutation.file)
  const scratch = join(copy, 'scratch')
  const text = readFileSync(path, 'utf8')
  const restore = (): void => writeFileSync(path, text)
  process.once('exit', restore)
  writeFileSync(path, mutated(text, mutation))
  try {
    let spent = 0
    for (const [index, [test, { millis }]] of chosen.entries()) {
      if (index > 0 && spent + millis > mostMillis) continue
      const file = join(copy, 'test', test)
      const limits = { reporter, scratch, limitMillis: limitOf(millis) }
      let played = await play(file, limits)
      // Once more: a test that is red by chance would hide a fault that none notices.
      if (played.red !== undefined && !played.hung) played = await play(file, limits)
      spent += played.millis
      if (played.red === undefined) continue
      noticed(mutation.file, test)
      return { end: played.hung ? 'hung' : 'killed', by: `${test}: ${played.red}` }
    }
    const left = chosen.filter(([, { millis }], index) => index > 0 && millis > mostMillis).length
    return { end: 'survived', left }
  } finally {
    restore()
    process.off('exit', restore)
  }
}

function noteOf({ end, left }: Outcome): string {
  if (end === 'not executed') return ' (not executed)'
  return left ? ` (${left} files not run)` : ''
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function shuffled<E>(all: readonly E[], chance: Chance): E[] {
  const order = [...all]
  for (let last = order.length - 1; last > 0; last -= 1) {
    const other = chance.below(last + 1)
    ;[order[last], order[other]] = [order[other] as E, order[last] as E]
  }
  return order
}

async function mutateRoom(room: string): Promise<void> {
  const all = readMutations(root, room, only)
  const keyOf = ({ file, start, end, by }: Mutation): string =>
    `${hashOf(join(root, 'src', file))} ${file} ${start} ${end} ${by}`
  const files = new Map<string, Mutation[]>()
  for (const mutation of all) files.set(mutation.file, [...(files.get(mutation.file) ?? []), mutation])
  for (const [file, mutations] of files)
    for (const [index, mutation] of mutations.entries()) {
      const end = tried.endOf(file, hashOf(join(root, 'src', file)), index)
      if (end !== undefined) results[keyOf(mutation)] ??= { end }
    }
  // Those that were tried before count, too, as long as their file is the same.
  const known = all.filter(mutation => results[keyOf(mutation)] !== undefined)
  const others = all.filter(mutation => results[keyOf(mutation)] === undefined)
  const more = Math.max(sample - known.length, 0)
  const chosen = [...known, ...shuffled(others, new Chance(seed)).slice(0, more)]
  const places = new Places(root)
  const isExplained = explained()
  say(`${room}: ${chosen.length} of ${all.length} faults (seed ${seed})`)
  const ends = { killed: 0, hung: 0, explained: 0, open: 0, tried: 0 }
  await inLanes(lanes, chosen, async (mutation, lane) => {
    const key = keyOf(mutation)
    let outcome = results[key]
    const isAlive = outcome?.end === 'survived' || outcome?.end === 'not executed'
    const place = places.of(mutation)
    if (outcome === undefined || (again && isAlive && !isExplained(place))) {
      // Without time for another try, one that has survived stays open.
      if (Date.now() <= until) {
        outcome = await attempt(mutation, room, copies[lane] as string)
        results[key] = outcome
        writeFileSync(resultsPath, JSON.stringify(results, undefined, 1))
      } else if (outcome === undefined) return
    }
    ends.tried += 1
    if (outcome.end === 'killed' || outcome.end === 'hung') ends[outcome.end] += 1
    else if (isExplained(place)) ends.explained += 1
    else {
      ends.open += 1
      say(`  open: ${place.where} | ${place.fault} | ${place.line} |${noteOf(outcome)}`)
    }
  })
  for (const [file, mutations] of files) {
    const found = mutations.map(mutation => results[keyOf(mutation)]?.end)
    tried.set(file, hashOf(join(root, 'src', file)), found)
  }
  tried.write(file => existsSync(join(root, 'src', file)))
  const { killed, hung } = ends
  say(
    `${room}: ${ends.tried} tried of ${all.length}, ${killed + hung} noticed (${hung} by the time limit), ` +
      `${ends.explained} explained, ${ends.open} open`,
  )
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
for (const room of rooms.length === 0 ? ROOMS : rooms) await mutateRoom(room)
