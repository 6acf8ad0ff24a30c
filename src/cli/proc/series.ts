import { systemClock } from '../../runtime/time/clock.ts'
import type { ProcFiles } from './proc-files.ts'
import { type Sample, type SocketSample, sampleOf, type ThreadSample } from './sample.ts'
import type { Target } from './target.ts'

/** The pause between two samples. Milliseconds. */
const PAUSE_MILLIS = 100
/**
 * The pause is at least this many times the CPU time of a sample, so that the doctor does not load the machine.
 */
const REST = 4
/** The least number of samples, because time alone proves nothing on a machine that hardly lets the doctor run. */
const FEWEST_SAMPLES = 8

/** Samples of a process over some seconds, from outside. */
export interface Series {
  readonly target: Target
  readonly samples: readonly Sample[]
  readonly first: Sample
  readonly last: Sample
  readonly seconds: number
}

/** The longest extension while the result is still unclear. Seconds. */
const MOST_EXTRA_SECONDS = 40

/**
 * Observes a process repeatedly.
 *
 * @param isUnclear - is asked at the end of the time whether to continue for a while
 * @returns undefined if the process has ended meanwhile
 */
export async function sampleSeries(
  proc: ProcFiles,
  target: Target,
  seconds: number,
  isUnclear: (series: Series) => boolean = () => false,
): Promise<Series | undefined> {
  const samples: Sample[] = []
  const start = systemClock.now()
  for (;;) {
    const at = systemClock.now()
    const used = process.cpuUsage()
    const sample = sampleOf(proc, target.pid, at)
    if (sample.threads.length === 0 || sample.threads[0]?.state === 'Z') return undefined
    samples.push(sample)
    const passed = (systemClock.now() - start) / 1000
    if (passed >= seconds && samples.length >= FEWEST_SAMPLES) {
      const series = seriesOf(target, samples)
      if (passed >= seconds + MOST_EXTRA_SECONDS || series === undefined || !isUnclear(series)) return series
    }
    const { user, system } = process.cpuUsage(used)
    await pause(Math.max(PAUSE_MILLIS, (REST * (user + system)) / 1000))
  }
}

function seriesOf(target: Target, samples: readonly Sample[]): Series | undefined {
  const [first] = samples
  const last = samples.at(-1)
  if (first === undefined || last === undefined) return undefined
  return { target, samples, first, last, seconds: (last.at - first.at) / 1000 }
}

export function pause(millis: number): Promise<void> {
  return new Promise(resolve => systemClock.after(millis, resolve).hold(true))
}

/** The sockets for which a condition holds in every sample, as the last one shows them. */
export function staying({ samples, last }: Series, is: (socket: SocketSample) => boolean): SocketSample[] {
  const kept = samples.map(sample => new Set(sample.sockets.filter(is).map(({ inode }) => inode)))
  return last.sockets.filter(({ inode }) => kept.every(inodes => inodes.has(inode)))
}

/** Has some of what waits on a socket been read meanwhile, however slowly? */
export function isBeingRead({ samples }: Series, inode: string): boolean {
  let before = 0
  for (const { sockets } of samples) {
    const unread = sockets.find(socket => socket.inode === inode)?.unread ?? 0
    if (unread < before) return true
    before = unread
  }
  return false
}

/** One thread in all samples; undefined if it did not exist all the time. */
export function threadOver({ samples }: Series, tid: number): ThreadSample[] | undefined {
  const all = samples.flatMap(({ threads }) => threads.filter(thread => thread.tid === tid))
  return all.length === samples.length ? all : undefined
}

export const threadIds = ({ first }: Series): number[] => first.threads.map(({ tid }) => tid)

/** Did a thread run at all between the first sample and the last? One that sleeps in a call does not, until it is woken. */
export function hasRun({ first, last }: Series, tid: number): boolean {
  const [from, to] = [first, last].map(({ threads }) => threads.find(thread => thread.tid === tid)?.ranMillis)
  return from === undefined || to === undefined || from !== to
}

interface Load {
  /** The share of the time in which it ran or wanted to run: 1 for a thread that never sleeps. */
  readonly busy: number
  /** The share of one processor that it got. */
  readonly cpu: number
  /** The share of its running time spent in the kernel. */
  readonly inKernel: number
}

/** How much a thread ran between its first and its last sample. */
export function loadOf({ first, last }: Series, tid: number): Load {
  const [from, to] = [first, last].map(sample => sample.threads.find(thread => thread.tid === tid))
  if (from === undefined || to === undefined) return { busy: 0, cpu: 0, inKernel: 0 }
  const millis = last.at - first.at
  const ran = to.ranMillis - from.ranMillis
  const ticks = to.userTicks + to.systemTicks - from.userTicks - from.systemTicks
  return {
    busy: (ran + to.queuedMillis - from.queuedMillis) / millis,
    cpu: ran / millis,
    inKernel: ticks === 0 ? 0 : (to.systemTicks - from.systemTicks) / ticks,
  }
}
