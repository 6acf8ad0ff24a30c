import { CannotLook } from '../cannot-look.ts'
import { ProcFiles } from '../proc/proc-files.ts'
import { type Series, sampleSeries } from '../proc/series.ts'
import { type Target, targetOf } from '../proc/target.ts'
import type { Finding } from './finding.ts'
import { inspected, served } from './inside/inspected.ts'
import { mayStandStill } from './outside/standstill.ts'
import { findingsOf, reasonsOf, socketsInWords } from './outside/verdict.ts'

interface DoctorOptions {
  readonly seconds: number
  /** Whether it may ask the process itself, by its inspector. */
  readonly inspect?: boolean
  /** The token of its diagnostics server. */
  readonly token?: string | undefined
}

/** What the doctor found, in the shape that `--json` prints. */
export interface Diagnosis {
  readonly pid: number
  readonly name: string
  readonly command: string
  readonly seconds: number
  readonly looks: number
  /** The most likely cause first. Empty if the doctor recognises nothing. */
  readonly findings: readonly Finding[]
  /** If nothing was found: the reasons. */
  readonly reasons: readonly string[]
  readonly sockets: readonly string[]
  readonly pools: readonly string[]
  /** What may be wrong, and cannot be told. */
  readonly unsure: readonly string[]
  /** What could not be examined, and why. */
  readonly unseen: readonly string[]
  /** Could too little be seen for a verdict? */
  readonly isBlind: boolean
  /** Could a part not be seen, such as its pools, or not be told? Then that nothing was found says less. */
  readonly isPartial: boolean
}

/**
 * Examines a process from outside for some seconds, and reports what is wrong with it. Changes nothing in the process;
 * with `inspect` it opens the inspector of a Node process for a while.
 */
export async function diagnose(
  pid: number,
  { seconds, inspect = false, token }: DoctorOptions,
): Promise<Diagnosis> {
  if (process.platform !== 'linux') throw new CannotLook('doctor reads /proc, which only Linux has')
  const proc = new ProcFiles()
  const target = targetOf(proc, pid)
  if (target === undefined) throw new CannotLook(`there is no process ${pid} that can be seen from here`)
  const series = await sampleSeries(proc, target, seconds, mayStandStill)
  if (series === undefined)
    throw new CannotLook(`process ${pid} (${target.name}) has ended while it was looked at`)
  const outside = await findingsOf(proc, series)
  const { findings, pools, unsure, notes, isPartial } = inspect
    ? await inspected(proc, series, outside, token)
    : ((await served(proc, series, outside, token)) ?? {
        findings: outside,
        pools: [],
        unsure: [],
        notes: hintsFor(proc, target, outside),
        isPartial: target.isNode,
      })
  const own = series.last.links.size === 0 && proc.refused.has('fd')
  return {
    pid,
    name: target.name,
    command: target.command,
    seconds: series.seconds,
    looks: series.samples.length,
    findings,
    reasons: findings.length > 0 ? [] : reasonsOf(proc, series),
    sockets: socketsInWords(series),
    pools,
    unsure,
    unseen: [...unseenOf(proc, target, series), ...notes],
    isBlind: findings.length === 0 && own,
    isPartial: findings.length === 0 && (own || isPartial || unsure.length > 0),
  }
}

function unseenOf(proc: ProcFiles, { pid }: Target, { last }: Series): string[] {
  const own = last.links.size === 0 && proc.refused.has('fd')
  const rights = 'run the doctor as the user of the process, or as root'
  return [
    ...(own ? [`its descriptors, and so its sockets and pipes: ${rights}`] : []),
    ...(proc.refused.has('syscall')
      ? [
          `which system call its threads are in (/proc/${pid}/syscall): ${rights}, or see kernel.yama.ptrace_scope; the doctor used wchan instead`,
        ]
      : []),
    ...(proc.refused.has('io') ? [`how much it reads and writes (/proc/${pid}/io): ${rights}`] : []),
    ...(!own && proc.refused.has('fd')
      ? ['the descriptors of some other processes, which may hold the other end of a pipe']
      : []),
  ]
}

/** What only the process itself can tell. */
function hintsFor(proc: ProcFiles, { isNode }: Target, findings: readonly Finding[]): string[] {
  if (!isNode)
    return [
      proc.refused.has('exe')
        ? 'its pools: whether it is a process of Node cannot be seen by this user'
        : 'its pools, if it has any: only a process of Node can be asked for them',
    ]
  if (findings.some(({ standsStill }) => standsStill === 'in the kernel')) return []
  return findings.some(({ standsStill }) => standsStill === 'in its code')
    ? ['which code runs: --inspect takes its stack']
    : ['its pools, and so nested acquires and leaks (I3): --inspect asks the process itself']
}
