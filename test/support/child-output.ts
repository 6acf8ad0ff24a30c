import type { ChildProcess } from 'node:child_process'

/** What a child has said so far, and how it ends. Its streams must be pipes to be heard. */
export class ChildOutput {
  stdout = ''
  stderr = ''
  /** Its exit code, once it has ended and all that it said is here. */
  readonly ended: Promise<number | null>

  constructor(child: ChildProcess) {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', code => resolve(code))
    })
  }

  /** Both streams, one after the other. */
  get text(): string {
    return this.stdout + this.stderr
  }
}
