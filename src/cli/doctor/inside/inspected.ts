import type { PoolReport } from '../../../diagnostics/pool-report.ts'
import { inText } from '../../../diagnostics/report-text.ts'
import { Inspector } from '../../inspect/inspector.ts'
import { type PoolState, type ProcessState, poolsOf } from '../../inspect/pools-of.ts'
import { profiled } from '../../inspect/profile.ts'
import { findSocket, reportsAt } from '../../inspect/served.ts'
import { stackOf } from '../../inspect/stack.ts'
import type { ProcFiles } from '../../proc/proc-files.ts'
import { pause, type Series } from '../../proc/series.ts'
import type { Finding } from '../finding.ts'
import { ownedBy, poolFindings } from './pools.ts'
import { reportFindings, waitingLines } from './reported.ts'
import { hasStalled, stalls } from './stalls.ts'

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
        'its pools and its stack: it is blocked in the kernel and cannot answer; its inspector was not opened',
      ],
    }
  let inspector: Inspector
  try {
    inspector = await Inspector.open(proc, target)
  } catch (error) {
    const note = `its pools: ${messageOf(error)}`
    const other = await served(proc, series, findings)
    return other === undefined
      ? { findings, pools: [], notes: [note] }
      : { ...other, notes: [note, ...other.notes] }
  }
  const notes: string[] = []
  let found: Pick<Inspected, 'findings' | 'pools'> = { findings, pools: [] }
  try {
    found =
      still === undefined
        ? await withPools(() => poolsOf(inspector), series, findings, inspector)
        : await withStack(inspector, findings)
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

/** How long a diagnostics socket may take to answer. Milliseconds. */
const ANSWER_MILLIS = 5000

/**
 * Asks a process of Node that serves its reports itself.
 *
 * @returns undefined if it does not, or if it is known not to answer
 */
export async function served(
  proc: ProcFiles,
  series: Series,
  findings: readonly Finding[],
): Promise<Inspected | undefined> {
  const { isNode, pid } = series.target
  if (!isNode || findings.some(({ standsStill }) => standsStill !== undefined)) return undefined
  try {
    const how = { millis: ANSWER_MILLIS }
    const socket = await findSocket(proc, pid, how)
    if (socket === undefined) return undefined
    const ask = async (): Promise<ProcessState> => stateOf(await reportsAt(socket, how))
    return { ...(await withPools(ask, series, findings)), notes: [] }
  } catch (error) {
    return { findings, pools: [], notes: [`its pools: ${messageOf(error)}`] }
  }
}

const stateOf = (reports: readonly PoolReport[]): ProcessState => ({
  pools: reports.map(json => {
    const { name, max, size, borrowed, pending, totals } = json.stats
    const isKnown = json.leases.some(({ busy }) => busy !== undefined)
    return {
      ...{
        kind: 'lifeguard-pool',
        name,
        max,
        size,
        lent: borrowed,
        waiting: pending,
        json,
        report: inText(json),
      },
      moved: [totals.acquired, json.leases.map(({ connection, loan }) => `${connection}.${loan}`)].join(),
      ...(isKnown ? { atWork: json.leases.filter(({ busy }) => busy).length } : {}),
    }
  }),
  clients: [],
})

async function withPools(
  ask: () => Promise<ProcessState>,
  series: Series,
  findings: readonly Finding[],
  inspector?: Inspector,
): Promise<Pick<Inspected, 'findings' | 'pools'>> {
  const outside = new Set(findings.map(({ pattern }) => pattern))
  const before = await ask()
  const rest = (): Promise<void> => pause(series.seconds * 1000)
  // Samples cost the process a little, so they are taken only where it is known to stall.
  const [, stretch] =
    inspector !== undefined && hasStalled(before)
      ? await profiled(inspector, rest)
      : [await rest(), undefined]
  const after = await ask()
  const reported = reportFindings(before, after)
  const isReported = new Set(reported.map(({ pattern }) => pattern))
  const seen = findings.map(finding => withOwned(withLines(finding, after), after))
  const inside = [
    ...stalls(after, series.seconds, stretch),
    ...reported,
    ...poolFindings(before, after, series.seconds).filter(({ pattern }) => !isReported.has(pattern)),
  ].filter(({ pattern }) => !outside.has(pattern))
  const isSilent = outside.has('silent-peer') || isReported.has('silent-peer')
  return {
    // Whoever waits for a silent server holds his connection for that reason.
    findings: isSilent
      ? [...seen, ...inside.filter(({ pattern }) => pattern !== 'pool-used-up')]
      : [...inside, ...seen],
    pools: [...after.pools.map(inWords), ...after.clients.map(clientsInWords)],
  }
}

const withOwned = (finding: Finding, state: ProcessState): Finding =>
  finding.pattern === 'unowned-sockets' && state.pools.length > 0
    ? { ...finding, evidence: [...finding.evidence, ownedBy(state)] }
    : finding

/** The server is named already. Who waits for it is known inside only. */
const withLines = (finding: Finding, state: ProcessState): Finding =>
  finding.pattern === 'silent-peer'
    ? { ...finding, evidence: [...finding.evidence, ...waitingLines(state)] }
    : finding

function inWords({ kind, name, max, size, lent, waiting, atWork, report }: PoolState): string {
  if (report !== undefined) return report.trimEnd()
  const work = atWork === undefined ? '' : `, ${atWork} of them at work`
  return `${kind}${name === '' ? '' : ` '${name}'`}: ${size} of ${max} connections, ${lent} lent${work}, ${waiting} waiting`
}

const clientsInWords = ({ server, clients, ready, unanswered }: ProcessState['clients'][number]): string =>
  `ioredis, ${server}: ${clients} clients, ${ready} of them ready, ${unanswered} commands without an answer`
