/*
 * `npm run simulate`:
 *   -- --seeds N [--from SEED]   random programs; one that fails is made short and printed as a test
 *   -- --exhaustive [TASKS]      all orders of events of the small configurations, with up to 2 tasks and with 3
 *   -- --mutants [NAME]          past faults, put back one by one: are they found?
 *   -- --write                   with any of these: writes the figures into docs/reliability.md
 */

import { tryAllOrders } from './all-orders.ts'
import { huntFor, readMutants } from './mutants.ts'
import { programOf } from './program.ts'
import { writeFigures } from './reliability.ts'
import { failureOf } from './run-program.ts'

const words = process.argv.slice(2)
const after = (flag: string): string | undefined => {
  const at = words.indexOf(flag)
  const value = at < 0 ? undefined : words[at + 1]
  return value?.startsWith('--') ? undefined : value
}
const say = (line: string): void => void process.stdout.write(`${line}\n`)
const writes = words.includes('--write')
const seconds = (since: number): number => Math.round((performance.now() - since) / 1000)
let hasFailed = false

async function simulateSeeds(count: number, from: number): Promise<void> {
  const since = performance.now()
  let failures = 0
  for (let seed = from; seed < from + count; seed += 1) {
    const failure = await failureOf(programOf(seed))
    if (failure === undefined) continue
    failures += 1
    say(`seed ${seed}: ${failure.kind}\n\n${failure.text}\n`)
  }
  say(`${count} random programs from seed ${from}: ${failures} failed, in ${seconds(since)} s`)
  hasFailed ||= failures > 0
  if (writes)
    writeFigures('random', [
      `${count} random programs of 120 steps (seeds ${from} to ${from + count - 1}): ${failures} failed, in ${seconds(since)} s.`,
    ])
}

async function huntMutants(part: string): Promise<void> {
  const original = part === '' ? await huntFor(undefined) : undefined
  if (original !== undefined) {
    hasFailed = true
    say(`the sources as they are: ${original}`)
    return
  }
  const rows: string[] = []
  let found = 0
  const mutants = readMutants().filter(({ name }) => name.includes(part))
  for (const mutant of mutants) {
    const how = await huntFor(mutant)
    found += how === undefined ? 0 : 1
    say(`${mutant.name}: ${how ?? 'NOT FOUND'}`)
    rows.push(`| ${mutant.name} | ${mutant.title} | ${(how ?? '**not found**').replaceAll('|', '\\|')} |`)
  }
  say(`${found} of ${mutants.length} found`)
  if (writes && part === '')
    writeFigures('mutants', [
      `${found} of ${mutants.length} found.`,
      '',
      '| mutant | fault | found by |',
      '| --- | --- | --- |',
      ...rows,
    ])
}

if (words.includes('--exhaustive')) {
  const tasks = after('--exhaustive')
  for (const count of tasks === undefined ? [2, 3] : [Number(tasks)])
    hasFailed ||= !(await tryAllOrders(count, say, writes))
}
if (words.includes('--mutants')) await huntMutants(after('--mutants') ?? '')
if (words.includes('--seeds') || words.length === 0)
  await simulateSeeds(Number(after('--seeds') ?? 200), Number(after('--from') ?? 1))
process.exitCode = hasFailed ? 1 : 0
