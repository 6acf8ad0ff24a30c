/*
 * `npm run test:faults`: every fault at every moment over every transport, on real servers.
 *   -- WORD …           only cells whose name contains a word
 *   -- --at-once N      so many at a time; 6
 *   -- --verbose        what callers were told
 *   -- --write          writes the table into docs/reliability.md
 */

import { setTimeout as delay } from 'node:timers/promises'
import { writeFigures } from '../simulation/reliability.ts'
import { descriptors, type Outcome, runCell } from './cell.ts'
import { FAULTS } from './faults.ts'
import { PHASES } from './phases.ts'
import { FaultWorld, TRANSPORTS } from './world.ts'

export const nameOf = (cell: { fault: string; phase: string; transport: string }): string =>
  `${cell.fault} / ${cell.phase} / ${cell.transport}`

const words = process.argv.slice(2)
const at = words.indexOf('--at-once')
const atOnce = at < 0 ? 6 : Number(words.splice(at, 2)[1])
const flags = new Set(words.filter(word => word.startsWith('--')))
const parts = words.filter(word => !word.startsWith('--'))
const say = (line: string): void => void process.stdout.write(`${line}\n`)

const running = new Set<string>()
const uncaught: string[] = []
for (const event of ['uncaughtException', 'unhandledRejection'] as const)
  process.on(event, (error: Error) => {
    uncaught.push(`${event}: ${error?.stack ?? error} during ${[...running].join(', ')}`)
  })

const queue = TRANSPORTS.flatMap(transport =>
  FAULTS.flatMap(fault => PHASES.map(phase => ({ fault, phase, transport }))),
).filter(({ fault, phase, transport }) => {
  const name = nameOf({ fault: fault.name, phase: phase.name, transport })
  return parts.length === 0 || parts.some(part => name.includes(part))
})
const outcomes: Outcome[] = []
const since = performance.now()
// What is opened once for all, such as the pipe of the guard of child processes, is there from then on.
const first = await FaultWorld.open('plain', false)
if (typeof first !== 'string') await first.stop()
const before = descriptors()

async function work(): Promise<void> {
  for (let cell = queue.shift(); cell !== undefined; cell = queue.shift()) {
    const { fault, phase, transport } = cell
    const name = nameOf({ fault: fault.name, phase: phase.name, transport })
    running.add(name)
    const outcome = await runCell(fault, phase, transport).catch(
      (error: Error): Outcome => ({
        ...{ fault: fault.name, phase: phase.name, transport, errors: [] },
        wrong: [`the cell failed: ${error.stack}`],
      }),
    )
    running.delete(name)
    outcomes.push(outcome)
    for (const wrong of outcome.wrong) say(`${name}: ${wrong}`)
    if (flags.has('--verbose')) for (const error of outcome.errors) say(`    ${name}: ${error}`)
  }
}

await Promise.all(Array.from({ length: atOnce }, work))
for (let tries = 0; descriptors() > before && tries < 50; tries += 1) await delay(50)
const left = descriptors() - before
const played = outcomes.filter(({ skipped }) => skipped === undefined)
const failed = played.filter(({ wrong }) => wrong.length > 0)
const seconds = Math.round((performance.now() - since) / 1000)
const of = (kind: string): number =>
  played.filter(({ wrong }) => wrong.some(each => each.startsWith(kind))).length
const sum =
  `${played.length} cells in ${seconds} s: ${of('hung')} hung, ${of('leaked') + Math.max(left, 0)} leaked, ${of('dead lent')} dead lent, ` +
  `${uncaught.length} uncaught, ${of('false error')} false errors, ${of('not recovered')} not recovered`
for (const each of uncaught) say(each)
say(`${sum}; ${outcomes.length - played.length} skipped`)
process.exitCode = failed.length + uncaught.length + Math.max(left, 0) > 0 ? 1 : 0

/** ✓ over all transports; the letters of those over which it holds or not. */
function mark(fault: string, phase: string): string {
  const cells = outcomes.filter(each => each.fault === fault && each.phase === phase)
  const ran = cells.filter(({ skipped }) => skipped === undefined)
  const bad = ran.filter(({ wrong }) => wrong.length > 0)
  if (ran.length === 0) return '–'
  return bad.length === 0 ? '✓'.repeat(ran.length) : `✗ ${bad.map(({ transport }) => transport).join(' ')}`
}

if (flags.has('--write') && parts.length === 0)
  writeFigures('faults', [
    `${sum}.`,
    '',
    `| fault | ${PHASES.map(({ name }) => name).join(' | ')} |`,
    `| --- | ${PHASES.map(() => '---').join(' | ')} |`,
    ...FAULTS.map(({ name }) => `| ${name} | ${PHASES.map(phase => mark(name, phase.name)).join(' | ')} |`),
  ])
process.exit()
