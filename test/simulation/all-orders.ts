/* `npm run simulate -- --exhaustive`: all orders of events of the small configurations, shared out to a worker for each core. */

import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { Chance } from '../support/random.ts'
import { nameOf, setsOf } from './configurations.ts'
import { audit, explore } from './explorer.ts'
import { writeFigures } from './reliability.ts'
import { type Setup, SmallWorld } from './small-world.ts'
import { type Figures, figuresOf } from './state-graph.ts'

/** So many random orders of each configuration are played again. */
const AUDITED = 4

type Answer = { readonly figures: Figures } | { readonly message: string }
interface Row {
  readonly name: string
  readonly figures: Figures
}

async function tryAll(setup: Setup): Promise<Figures> {
  const make = (): SmallWorld => new SmallWorld(setup)
  const graph = await explore(make)
  const chance = new Chance(1)
  await audit(make, graph, AUDITED, limit => chance.below(limit))
  return figuresOf(graph)
}

/** @returns whether all went well */
export async function tryAllOrders(
  tasks: number,
  say: (line: string) => void,
  writes: boolean,
): Promise<boolean> {
  // Each run leaves a world behind: with more room for them, the garbage collector takes a tenth less time in all.
  setFlagsFromString('--min-semi-space-size=32')
  setFlagsFromString('--max-semi-space-size=64')
  const since = performance.now()
  const setups = setsOf(tasks)
  const rows: Row[] = []
  let failures = 0
  let next = 0
  const serve = async (): Promise<void> => {
    const worker = new Worker(new URL(import.meta.url), { execArgv: ['--no-warnings'] })
    for (let index = next++; index < setups.length; index = next++) {
      const setup = setups[index] as Setup
      const name = nameOf(setup)
      worker.postMessage(setup)
      const [answer] = (await once(worker, 'message')) as [Answer]
      if ('message' in answer) failures += 1
      else rows[index] = { name, figures: answer.figures }
      say('message' in answer ? `${name}: ${answer.message}` : `${name}: ${inWords(answer.figures)}`)
    }
    await worker.terminate()
  }
  await Promise.all(Array.from({ length: availableParallelism() }, serve))
  const seconds = Math.round((performance.now() - since) / 1000)
  const text = `${setups.length} configurations with up to ${tasks} tasks: ${inWords(sumOf(rows.filter(Boolean)))}, in ${seconds} s`
  say(`${text}; ${failures} failed`)
  if (writes && failures === 0) writeFigures(`exhaustive-${tasks}`, tableOf(text, rows))
  return failures === 0
}

const inWords = ({ states, steps, orders, runs }: Figures): string =>
  `${states} states, ${steps} events in them, ${orders} orders, by ${runs} runs`

function sumOf(rows: readonly Row[]): Figures {
  const sum = { states: 0, steps: 0, orders: 0n, longest: 0, runs: 0, isWhole: true }
  for (const { figures } of rows) {
    sum.states += figures.states
    sum.steps += figures.steps
    sum.orders += figures.orders
    sum.runs += figures.runs
  }
  return sum
}

const tableOf = (text: string, rows: readonly Row[]): string[] => [
  `${text}.`,
  '',
  '| configuration | states | events in them | orders | runs |',
  '| --- | ---: | ---: | ---: | ---: |',
  ...rows.map(
    ({ name, figures: { states, steps, orders, runs } }) =>
      `| ${name} | ${states} | ${steps} | ${orders} | ${runs} |`,
  ),
]

if (!isMainThread)
  parentPort?.on('message', (setup: Setup) => {
    tryAll(setup).then(
      figures => parentPort?.postMessage({ figures }),
      error => parentPort?.postMessage({ message: (error as Error).message }),
    )
  })
