/*
 * Runs the service of incident I1 three times, each with a stderr that nobody reads: with plain debug-like output, with
 * a synchronous logger, and guarded. Prints what became of each.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'

/** What became of one run. */
export interface Outcome {
  readonly ended: boolean
  readonly lastWord: string
}

/**
 * @param cycles - how many loans
 * @param patience - after so many milliseconds without a word, or an end after the last one, it counts as stuck
 */
export function runUnread(way: string, cycles: number, patience: number): Promise<Outcome> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'service.js'), way, String(cycles)], {
    // A shell's pipe, as sshd or a process supervisor makes it: Node itself would give the child a socket.
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, DEBUG: way === 'guarded' ? 'lifeguard-pool:*' : '' },
  })
  return watch(child, patience)
}

function watch(child: ReturnType<typeof spawn>, patience: number): Promise<Outcome> {
  return new Promise(resolve => {
    let words = ''
    let ended = true
    const stuck = (): void => {
      ended = false
      child.kill('SIGKILL')
    }
    let timer = setTimeout(stuck, patience)
    child.stdout?.on('data', chunk => {
      words += chunk
      clearTimeout(timer)
      timer = setTimeout(stuck, patience)
    })
    child.on('close', () => {
      clearTimeout(timer)
      resolve({ ended, lastWord: words.trimEnd().split('\n').at(-1) ?? '' })
    })
  })
}
