import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Diagnosis } from '../../src/cli/doctor/doctor.ts'
import { guardChild } from '../support/orphan-guard.ts'
import { packageRoot } from '../support/package-root.ts'

/** The command as it is published. */
export const COMMAND = join(packageRoot(), 'dist', 'cli', 'main.js')

/** A program of another language, beside these tests. */
export const fixture = (name: string): string => join(packageRoot(), 'test', 'cli', 'fixtures', name)

export interface Said {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `lifeguard-pool` with some arguments. */
export async function run(...args: readonly string[]): Promise<Said> {
  const child = spawn(process.execPath, [COMMAND, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  guardChild(child)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

/** What the doctor says of a process. */
export async function doctor(pid: number, ...args: readonly string[]): Promise<Diagnosis> {
  const { code, stdout, stderr } = await run('doctor', String(pid), '--json', ...args)
  if (code !== 0 && code !== 1) throw new Error(`exit code ${code}: ${stderr}`)
  return JSON.parse(stdout) as Diagnosis
}

export const patternsOf = ({ findings }: Diagnosis): string[] => findings.map(({ pattern }) => pattern)

/** Debian's; a shim of a version manager would be a process in front of it. */
export const PYTHON = ['/usr/bin/python3', '/usr/local/bin/python3'].find(existsSync)
export const noPython = PYTHON === undefined ? 'there is no python3 in /usr/bin or /usr/local/bin' : false

/** A process of a test, which ends with it. */
export class Started {
  readonly child: ChildProcess
  readonly pid: number
  /** Its first word on stdout. */
  readonly word: Promise<string>

  constructor(
    command: string,
    args: readonly string[],
    stderr: number | 'ignore' | 'inherit' = 'inherit',
    env: Readonly<Record<string, string>> = {},
  ) {
    this.child = spawn(command, [...args], {
      stdio: ['pipe', 'pipe', stderr],
      env: { ...process.env, ...env },
    })
    guardChild(this.child)
    this.pid = this.child.pid as number
    this.word = new Promise((resolve, reject) => {
      this.child.stdout?.once('data', chunk => resolve(String(chunk).trim()))
      this.child.once('exit', code => reject(new Error(`${command} ${args.join(' ')} ended with ${code}`)))
    })
    this.word.catch(() => {})
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const exited = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exited
  }
}
