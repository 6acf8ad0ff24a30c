/* Runs one compiled test file in a process group of its own, until its first red test. */

import { spawn } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

export interface Played {
  /** The name of the red test, or what happened instead; undefined if all were green. */
  readonly red: string | undefined
  readonly hung: boolean
  readonly millis: number
}

interface Play {
  /** The reporter, see first-red.ts. */
  readonly reporter: string
  /** Where the file may leave what it likes. */
  readonly scratch: string
  readonly limitMillis: number
  readonly env?: NodeJS.ProcessEnv
  /** Goes on behind a red test. */
  readonly toTheEnd?: boolean
}

export function play(file: string, { reporter, scratch, limitMillis, env, toTheEnd }: Play): Promise<Played> {
  const began = performance.now()
  const temporary = join(scratch, 'tmp')
  mkdirSync(temporary, { recursive: true })
  const child = spawn(
    process.execPath,
    [`--test-reporter=${reporter}`, '--test-reporter-destination=stdout', file],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
      env: { ...process.env, TMPDIR: temporary, ...env },
    },
  )
  return new Promise(resolve => {
    let red: string | undefined
    let hung = false
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      } catch {
        // It has ended.
      }
    }
    const timer = setTimeout(() => {
      hung = true
      kill()
    }, limitMillis)
    process.once('exit', kill)
    child.stdout.on('data', (data: Buffer) => {
      red ??= /^red: (.*)$/m.exec(data.toString())?.[1]
      if (red !== undefined && toTheEnd !== true) kill()
    })
    child.on('exit', code => {
      clearTimeout(timer)
      process.off('exit', kill)
      // Servers that the tests have started.
      kill()
      if (code !== 0) red ??= hung ? 'it did not end' : `exit ${code}`
      rmSync(temporary, { recursive: true, force: true })
      resolve({ red, hung, millis: performance.now() - began })
    })
  })
}
