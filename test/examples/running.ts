import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { ChildOutput } from '../support/child-output.ts'
import { until } from '../support/processes.ts'

/** Longest that any of the examples may take. */
const LIMIT_MILLIS = 120_000

/** An example that runs as a child process, and what it has said so far. */
export class Example {
  readonly child: ChildProcess
  readonly #output: ChildOutput

  /** @param file - below `examples`, without its extension */
  constructor(file: string, words: readonly string[] = [], env: Readonly<Record<string, string>> = {}) {
    const script = fileURLToPath(new URL(`../../examples/${file}.js`, import.meta.url))
    // `npm test` may have named a server: an example is to find the one that it is given.
    const { REDIS_URL, ...rest } = process.env
    this.child = spawn(process.execPath, [script, ...words], {
      env: { ...rest, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LIMIT_MILLIS,
      killSignal: 'SIGKILL',
    })
    this.#output = new ChildOutput(this.child)
  }

  get stdout(): string {
    return this.#output.stdout
  }

  get stderr(): string {
    return this.#output.stderr
  }

  /** Its exit code, once it has ended and all its output is here. */
  get ended(): Promise<number | null> {
    return this.#output.ended
  }

  /** Waits until it has said that. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    await until(() => pattern.test(this.stdout), `${pattern} in ${this.stdout} ${this.stderr}`)
    return pattern.exec(this.stdout) as RegExpExecArray
  }

  terminate(): void {
    this.child.kill('SIGTERM')
  }
}
