import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import type { Diagnosis } from '../../src/cli/doctor/doctor.ts'
import { ChildOutput } from '../support/child-output.ts'
import { guardChild } from '../support/orphan-guard.ts'
import { packageRoot } from '../support/package-root.ts'
import { ensureRedisBinary } from '../support/redis-server.ts'

/** The command as it is published. */
export const COMMAND = join(packageRoot(), 'dist', 'cli', 'main.js')

/** A program of another language, beside these tests. */
export const fixture = (name: string): string => join(packageRoot(), 'test', 'cli', 'fixtures', name)

/** Runs `lifeguard-pool` with some arguments. */
export async function run(...args: readonly string[]) {
  const child = spawn(process.execPath, [COMMAND, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  guardChild(child)
  const output = new ChildOutput(child)
  const code = await output.ended
  return { code, stdout: output.stdout, stderr: output.stderr }
}

/** What the doctor says of a process. */
export async function doctor(pid: number, ...args: readonly string[]): Promise<Diagnosis> {
  const { code, stdout, stderr } = await run('doctor', String(pid), '--json', ...args)
  if (stdout === '') throw new Error(`exit code ${code}: ${stderr}`)
  return JSON.parse(stdout) as Diagnosis
}

const binary = await ensureRedisBinary()
/** For tests of the doctor, most of which need a server beside it. */
export const skip: string | false =
  process.platform !== 'linux' ? 'doctor reads /proc' : 'missing' in binary ? binary.missing : false

/** How long the doctor looks in a test. */
export const SECONDS = ['--seconds', '1'] as const

/** A process with a fault, or one that is well: see there. */
export const CHILD = join(import.meta.dirname, 'sick-child.js')
/** Three pools; with the argument `no socket` it serves nothing. */
export const POOLS_CHILD = join(import.meta.dirname, 'pools-child.js')
export const HEALTHY_CHILD = join(import.meta.dirname, 'healthy-child.js')

/** Requests that nobody waits for. */
export function ask(port: number, count = 1): void {
  for (let request = 0; request < count; request += 1) {
    get({ host: '127.0.0.1', port, agent: false }, response => response.resume()).on('error', () => {})
  }
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
    // A child of its own may outlive it with its output open, which would keep this process waiting.
    this.child.stdout?.destroy()
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const exited = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exited
  }
}
