// One scenario against one pool, in a process of its own: it may spin, hang or crash without harm to the tests.
import * as genericPool from 'generic-pool'
import { messageOf } from '../../../src/api/errors.ts'
import { turns } from '../../support/factories.ts'
import type { CreatePool, Facts } from './scenario.ts'
import { type ScenarioName, scenarios } from './scenarios/index.ts'

export type Report = { started: true } | { alive: true } | { facts: Facts } | { broken: string }
/** What the child tells its parent: one report, and what would have ended a process that has no handler. */
export type Message = Report & { crashes: readonly string[] }

const [name, which] = process.argv.slice(2)
const crashes: string[] = []
const tell = (report: Report, then?: () => void): void => {
  process.send?.({ ...report, crashes } satisfies Message, undefined, undefined, then)
}

process.on('uncaughtException', (error, origin) => crashes.push(`${origin}: ${messageOf(error)}`))
process.on('message', () => tell({ alive: true }))

const createPool = (which === 'generic-pool'
  ? genericPool.createPool
  : (await import('../../../src/index.ts')).createPool) as unknown as CreatePool
const scenario = scenarios[name as ScenarioName]
tell({ started: true })
try {
  const facts = await scenario(createPool)
  await turns(2) // for a rejection that is still on its way to nobody
  tell({ facts }, () => process.exit())
} catch (error) {
  tell({ broken: error instanceof Error ? String(error.stack) : messageOf(error) }, () => process.exit())
}
