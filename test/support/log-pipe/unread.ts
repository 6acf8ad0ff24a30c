import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'

/** What became of one run. */
export interface Outcome {
  /** Did the process end by itself? */
  readonly ended: boolean
  /** What it said last on stdout. */
  readonly lastWord: Pulse | undefined
}

/** What the service says of itself. */
export interface Pulse {
  readonly way: string
  readonly done: number
  readonly seconds: number
  readonly rssMiB: number
  readonly highestMiB: number
  readonly queuedMiB: number
}

/** So long its first word may take: on a busy machine a process takes its time to start. */
const START_MILLIS = 30_000

/**
 * Runs the service of incident I1 with a stderr that nobody reads.
 *
 * @param stderr - a pipe, or `'socket'`
 * @param patience - after so many milliseconds without a word it counts as stuck, and is killed
 */
export function runUnread(
  way: 'plain' | 'sync' | 'guarded',
  cycles: number,
  patience: number,
  stderr: number | 'socket',
): Promise<Outcome> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'service.js'), way, String(cycles)], {
    stdio: ['ignore', 'pipe', stderr === 'socket' ? 'pipe' : stderr],
    env: { ...process.env, DEBUG: way === 'guarded' ? 'lifeguard-pool:*' : '' },
  })
  return outcomeOf(child, patience)
}

function outcomeOf(child: ChildProcess, patience: number): Promise<Outcome> {
  return new Promise(resolve => {
    let words = ''
    let ended = true
    const stuck = (): void => {
      ended = false
      child.kill('SIGKILL')
    }
    let timer = setTimeout(stuck, Math.max(patience, START_MILLIS))
    child.stdout?.on('data', chunk => {
      words += chunk
      clearTimeout(timer)
      timer = setTimeout(stuck, patience)
    })
    child.on('exit', () => {
      clearTimeout(timer)
      child.stderr?.destroy()
    })
    child.on('close', () => {
      const last = words.trimEnd().split('\n').at(-1)
      resolve({ ended, lastWord: last ? (JSON.parse(last) as Pulse) : undefined })
    })
  })
}
