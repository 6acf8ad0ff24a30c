import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { guardChild } from './orphan-guard.ts'
import { cpuMillis } from './proc.ts'

/** What a service sends to its operator. */
export type Message =
  | { readonly type: 'answer'; readonly seq: number; readonly value: unknown; readonly error?: string }
  | { readonly type: 'named'; readonly text: string; readonly at: number }

/** What an operator sends to a service. */
export interface Call {
  readonly seq: number
  readonly name: string
  readonly argument: unknown
}

/** Milliseconds on a clock that all processes of this machine share. */
export const wallClock = (): number => performance.timeOrigin + performance.now()

export interface ServiceOptions {
  readonly env?: Readonly<Record<string, string>>
  /** Where its stderr leads; default: to that of the operator. */
  readonly stderr?: number | 'ignore' | 'inherit'
}

/** The first time that the service itself said what was wrong. */
export interface Named {
  readonly text: string
  /** Since the fault. */
  readonly seconds: number
}

/** A service in a process of its own, as its operator sees it: he may ask it, look at it from outside, and end it. */
export class Service {
  readonly pid: number
  readonly child: ChildProcess
  readonly #open = new Map<number, (message: Message & { type: 'answer' }) => void>()
  readonly #named: { text: string; at: number }[] = []
  #lastSeq = 0

  private constructor(child: ChildProcess) {
    this.child = child
    this.pid = child.pid as number
    child.on('message', message => this.#heard(message as Message))
  }

  /** @param name - of a file of `examples/incidents`, without its extension */
  static async start(name: string, words: readonly string[], options: ServiceOptions = {}): Promise<Service> {
    // As this file: .ts where types are stripped at run time, .js when compiled.
    const file = new URL(`../../examples/incidents/${name}${extname(import.meta.url)}`, import.meta.url)
    const { LIFEGUARD_SCALE, DEBUG, ...env } = process.env
    const child = fork(file, [...words], {
      env: { ...env, ...options.env },
      stdio: ['pipe', 'ignore', options.stderr ?? 'inherit', 'ipc'],
    })
    await once(child, 'spawn')
    guardChild(child)
    return new Service(child)
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  /** CPU time so far; undefined where there is no /proc. */
  get cpu(): number | undefined {
    return cpuMillis(this.pid)
  }

  /** Has the service do something. Rejects when it fails, or is not done in time. */
  async call<R>(name: string, argument?: unknown, millis = 20_000): Promise<R> {
    const seq = ++this.#lastSeq
    const limit = new AbortController()
    const answer = new Promise<R>((resolve, reject) => {
      this.#open.set(seq, ({ error, value }) =>
        error === undefined ? resolve(value as R) : reject(new Error(`${name}: ${error}`)),
      )
    })
    this.child.send({ seq, name, argument } satisfies Call)
    const late = delay(millis, undefined, { signal: limit.signal }).then(() => {
      throw new Error(`${name}: no answer within ${millis} ms`)
    })
    late.catch(() => {})
    try {
      return await Promise.race([answer, late])
    } finally {
      this.#open.delete(seq)
      limit.abort()
    }
  }

  /** When and how the service first said, after a fault, what was wrong, if it did. */
  named(faultAt: number, about = ''): Named | undefined {
    const first = this.#named.find(({ text, at }) => at >= faultAt && text.includes(about))
    return first && { text: first.text, seconds: (first.at - faultAt) / 1000 }
  }

  /** Waits for the process to end by itself. @returns whether it did */
  async ends(millis: number): Promise<boolean> {
    if (this.hasEnded) return true
    const limit = AbortSignal.timeout(millis)
    return once(this.child, 'exit', { signal: limit }).then(
      () => true,
      () => this.hasEnded,
    )
  }

  /** Ends it by its process id, whatever it is stuck in. */
  async kill(): Promise<void> {
    if (this.hasEnded) return
    const exited = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exited
  }

  #heard(message: Message): void {
    if (message.type === 'named') this.#named.push(message)
    else this.#open.get(message.seq)?.(message)
  }
}

/** Asks again until it is so, or the time is up. @returns whether it was */
export async function until(
  condition: () => boolean | Promise<boolean>,
  millis: number,
  pause = 10,
): Promise<boolean> {
  const deadline = performance.now() + millis
  while (!(await condition())) {
    if (performance.now() > deadline) return false
    await delay(pause)
  }
  return true
}
