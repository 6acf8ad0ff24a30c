import type { PoolReport } from '../../../diagnostics/pool-report.ts'
import { inText } from '../../../diagnostics/report-text.ts'
import type { Inspector } from '../../inspect/inspector.ts'
import { type PoolState, type ProcessState, poolsIn } from '../../inspect/pools-of.ts'
import { profiled } from '../../inspect/profile.ts'
import { findSocket, reportsAt } from '../../inspect/served.ts'
import { openSession, type Session } from '../../inspect/session.ts'
import { stackOf } from '../../inspect/stack.ts'
import type { ProcFiles } from '../../proc/proc-files.ts'
import { sampleOf } from '../../proc/sample.ts'
import { loadOf, pause, type Series } from '../../proc/series.ts'
import { type Finding, inSeconds } from '../finding.ts'
import { ownedBy, poolFindings, slowCommands } from './pools.ts'
import { reportFindings, unsureOf, waitingLines } from './reported.ts'
import { hasStalled, stalls } from './stalls.ts'

/** What a process says of itself, by its inspector. */
interface Inspected {
  readonly findings: readonly Finding[]
  /** Its pools, each in some lines. */
  readonly pools: readonly string[]
  /** What may be wrong, and cannot be told. */
  readonly unsure: readonly string[]
  /** What could not be done, and why. */
  readonly notes: readonly string[]
  /** Was what was asked for not to be had? */
  readonly isPartial: boolean
}

const nothing = (findings: readonly Finding[], note: string): Inspected => ({
  ...{ findings, pools: [], unsure: [], notes: [note], isPartial: true },
})

/** Asks the process itself, and lets it go as it was. */
export async function inspected(
  proc: ProcFiles,
  series: Series,
  findings: readonly Finding[],
  token?: string,
): Promise<Inspected> {
  const { target } = series
  const still = findings.find(({ standsStill }) => standsStill !== undefined)
  if (still?.standsStill === 'in the kernel')
    return nothing(
      findings,
      'its pools and its stack: it is blocked in the kernel and cannot answer; its inspector was not opened',
    )
  let session: Session
  try {
    session = await openSession(proc, target)
  } catch (error) {
    const note = `its pools: ${messageOf(error)}`
    const other = await served(proc, series, findings, token)
    return other === undefined ? nothing(findings, note) : { ...other, notes: [note, ...other.notes] }
  }
  const { inspector } = session
  const notes: string[] = []
  let found: Said = { findings, pools: [], unsure: [] }
  let isPartial = false
  try {
    if (still !== undefined) found = await withStack(inspector, findings)
    else if (await turns(proc, inspector, series))
      found = await withPools(poolsIn(inspector), series, findings, inspector)
    else found = await withStack(inspector, [computing(series), ...findings])
  } catch (error) {
    isPartial = true
    notes.push(`what the process says itself: ${messageOf(error)}`)
  }
  const left = await session.close()
  if (left !== undefined) notes.push(left)
  return { ...found, notes, isPartial }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

type Said = Pick<Inspected, 'findings' | 'pools' | 'unsure'>

/** If the main thread wants to run for this share of the time, its loop may not turn. */
const NEVER_SLEEPS = 0.9
/** How much processor time a turn of an event loop may take. On a busy machine, that is a long time. Milliseconds. */
const TURN_MILLIS = 2000
const POLL_MILLIS = 100

/** Does the event loop of a process turn? One that runs all the time may not, and nothing shows that while no input waits. */
async function turns(proc: ProcFiles, inspector: Inspector, series: Series): Promise<boolean> {
  const { pid } = series.target
  if (loadOf(series, pid).busy < NEVER_SLEEPS) return true
  const ran = (): number => sampleOf(proc, pid, 0).threads[0]?.ranMillis ?? 0
  const start = ran()
  let hasTurned = false
  const turned = (): void => {
    hasTurned = true
  }
  const question = {
    expression: 'new Promise(resolve => globalThis.setImmediate(resolve))',
    awaitPromise: true,
  }
  // Without an answer in time, nothing is known.
  inspector.call('Runtime.evaluate', question).then(turned, turned)
  while (!hasTurned) {
    if (ran() - start >= TURN_MILLIS) return false
    await pause(POLL_MILLIS)
  }
  return true
}

const computing = ({ seconds }: Series): Finding => ({
  pattern: 'blocked-loop',
  standsStill: 'in its code',
  title: `The event loop does not turn: it was asked to, and did not within ${inSeconds(TURN_MILLIS)} of processor time.`,
  evidence: [
    `the main thread wanted to run all the time, for at least ${inSeconds(seconds * 1000)} before that; no input waited yet`,
  ],
  next: ['Move long computations to a worker thread, or split them, if this process has to answer anybody.'],
})

async function withStack(inspector: Inspector, findings: readonly Finding[]): Promise<Said> {
  const stack = await stackOf(inspector)
  const [first, ...others] = findings
  if (first === undefined) return { findings, pools: [], unsure: [] }
  return {
    unsure: [],
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
  token?: string,
): Promise<Inspected | undefined> {
  const { isNode, pid } = series.target
  if (!isNode || findings.some(({ standsStill }) => standsStill !== undefined)) return undefined
  try {
    const how = { millis: ANSWER_MILLIS, token }
    const socket = await findSocket(proc, pid, how)
    if (socket === undefined) return undefined
    const ask = async (): Promise<ProcessState> => stateOf(await reportsAt(socket, how))
    return { ...(await withPools(ask, series, findings)), notes: [], isPartial: false }
  } catch (error) {
    return nothing(findings, `its pools: ${messageOf(error)}`)
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
): Promise<Said> {
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
      ? [...seen, ...inside.filter(({ pattern }) => !/^pool-/.test(pattern))]
      : [...inside, ...seen],
    pools: [...after.pools.map(inWords), ...after.clients.map(clientsInWords)],
    unsure: isSilent ? [] : [...unsureOf(after), ...slowCommands(before, after, series.seconds)],
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
