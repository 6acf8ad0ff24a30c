import { Inspector } from '../inspect/inspector.ts'
import { type PoolState, type ProcessState, poolsOf } from '../inspect/pools-of.ts'
import { stackOf } from '../inspect/stack.ts'
import type { ProcFiles } from '../proc/proc-files.ts'
import { pause, type Series } from '../proc/series.ts'
import type { Finding } from './finding.ts'
import { ownedBy, poolFindings } from './pools.ts'

/** What a process says of itself, by its inspector. */
interface Inspected {
  readonly findings: readonly Finding[]
  /** Its pools, each in some lines. */
  readonly pools: readonly string[]
  /** What could not be done, and why. */
  readonly notes: readonly string[]
}

/** Asks the process itself, and lets it go as it was. */
export async function inspected(
  proc: ProcFiles,
  series: Series,
  findings: readonly Finding[],
): Promise<Inspected> {
  const { target } = series
  const still = findings.find(({ standsStill }) => standsStill !== undefined)
  if (still?.standsStill === 'in the kernel')
    return {
      findings,
      pools: [],
      notes: [
        'its pools and its stack: it stands still in the kernel and cannot answer; its inspector was not opened',
      ],
    }
  let inspector: Inspector
  try {
    inspector = await Inspector.open(proc, target)
  } catch (error) {
    return { findings, pools: [], notes: [`its pools: ${messageOf(error)}`] }
  }
  const notes: string[] = []
  let found: Pick<Inspected, 'findings' | 'pools'> = { findings, pools: [] }
  try {
    found = await (still === undefined ? withPools : withStack)(inspector, series, findings)
  } catch (error) {
    notes.push(`what the process says itself: ${messageOf(error)}`)
  }
  if (!(await inspector.close(proc, target)))
    notes.push('its inspector could not be closed: it listens on 127.0.0.1 until the process ends')
  return { ...found, notes }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

async function withStack(
  inspector: Inspector,
  _series: Series,
  findings: readonly Finding[],
): Promise<Pick<Inspected, 'findings' | 'pools'>> {
  const stack = await stackOf(inspector)
  const [first, ...others] = findings
  if (first === undefined) return { findings, pools: [] }
  return {
    findings: [{ ...first, evidence: [...first.evidence, 'it runs here:', ...stack] }, ...others],
    pools: [],
  }
}

async function withPools(
  inspector: Inspector,
  series: Series,
  findings: readonly Finding[],
): Promise<Pick<Inspected, 'findings' | 'pools'>> {
  const outside = new Set(findings.map(({ pattern }) => pattern))
  const before = await poolsOf(inspector)
  await pause(series.seconds * 1000)
  const after = await poolsOf(inspector)
  return {
    findings: [
      ...poolFindings(before, after, series.seconds).filter(({ pattern }) => !outside.has(pattern)),
      ...findings.map(finding => withOwned(finding, after)),
    ],
    pools: [...after.pools.map(inWords), ...after.clients.map(clientsInWords)],
  }
}

const withOwned = (finding: Finding, state: ProcessState): Finding =>
  finding.pattern === 'unowned-sockets' && state.pools.length > 0
    ? { ...finding, evidence: [...finding.evidence, ownedBy(state)] }
    : finding

function inWords({ kind, name, max, size, lent, waiting, atWork, report }: PoolState): string {
  if (report !== undefined) return report.trimEnd()
  const work = atWork === undefined ? '' : `, ${atWork} of them at work`
  return `${kind}${name === '' ? '' : ` '${name}'`}: ${size} of ${max} connections, ${lent} lent${work}, ${waiting} waiting`
}

const clientsInWords = ({ server, clients, ready, unanswered }: ProcessState['clients'][number]): string =>
  `ioredis, ${server}: ${clients} clients, ${ready} of them ready, ${unanswered} commands without an answer`
