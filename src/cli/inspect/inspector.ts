import { get } from 'node:http'
import { systemClock } from '../../runtime/time/clock.ts'
import type { ProcFiles } from '../proc/proc-files.ts'
import { sampleOf } from '../proc/sample.ts'
import { pause } from '../proc/series.ts'
import type { Target } from '../proc/target.ts'
import { openWebSocket, type WebSocketLine } from './websocket.ts'

/** For any single step. Milliseconds. */
const PATIENCE_MILLIS = 15_000
const POLL_MILLIS = 50

type Answer = Readonly<Record<string, unknown>>

/** A session with the inspector of a Node process. */
export class Inspector {
  /** Was it there before, as with `node --inspect`? Then it stays. */
  readonly wasOpen: boolean
  readonly #line: WebSocketLine
  readonly #open = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>()
  readonly #listeners = new Map<string, (params: Answer) => void>()
  #last = 0

  private constructor(line: WebSocketLine, wasOpen: boolean) {
    this.#line = line
    this.wasOpen = wasOpen
  }

  /**
   * Opens the inspector of a process by SIGUSR1, unless it is open.
   *
   * @throws Error that says why there is none
   */
  static async open(proc: ProcFiles, target: Target): Promise<Inspector> {
    const namespace = proc.link(`${target.pid}/ns/net`)
    if (namespace !== '' && namespace !== proc.link('self/ns/net'))
      throw new Error(
        `it is in another network namespace (a container), where its inspector would open: run this inside, nsenter -t ${target.pid} -n`,
      )
    const before = portsOf(proc, target.pid)
    let found = await inspectorAt(before)
    const wasOpen = found !== undefined
    if (found === undefined) {
      // Any other program would be ended by it.
      if (!target.takesInspector)
        throw new Error(
          proc.refused.has('exe')
            ? 'whether it is a process of Node cannot be seen by this user'
            : `${target.name} is no process of Node that takes SIGUSR1`,
        )
      process.kill(target.pid, 'SIGUSR1')
      const deadline = systemClock.now() + PATIENCE_MILLIS
      while (found === undefined && systemClock.now() < deadline) {
        await pause(POLL_MILLIS)
        found = await inspectorAt(portsOf(proc, target.pid).filter(port => !before.includes(port)))
      }
    }
    if (found === undefined)
      throw new Error(
        'its inspector did not open: port 9229 may be in use (start the process with --inspect-port=0), or SIGUSR1 is listened to',
      )
    let heard: (text: string) => void = () => {}
    let ended = (): void => {}
    const line = await openWebSocket(
      found.port,
      found.path,
      { message: text => heard(text), closed: () => ended() },
      PATIENCE_MILLIS,
    )
    const inspector = new Inspector(line, wasOpen)
    heard = text => inspector.#received(text)
    ended = () => inspector.#ended()
    return inspector
  }

  /** @throws Error if the process does not answer in time, or says that it cannot */
  async call(method: string, params: Answer = {}, millis = PATIENCE_MILLIS): Promise<Answer> {
    const id = ++this.#last
    const answer = new Promise<Answer>((resolve, reject) => this.#open.set(id, { resolve, reject }))
    this.#line.send(JSON.stringify({ id, method, params }))
    return within(answer, millis, method).finally(() => this.#open.delete(id))
  }

  /** Has all events of a kind from now on go there. */
  listen(method: string, listener: (params: Answer) => void): void {
    this.#listeners.set(method, listener)
  }

  /** The next event of a kind. */
  event(method: string): Promise<Answer> {
    const event = new Promise<Answer>(resolve => this.listen(method, resolve))
    return within(event, PATIENCE_MILLIS, method)
  }

  /** What an expression gives, as data. */
  async evaluate(expression: string): Promise<unknown> {
    const answer = await this.call('Runtime.evaluate', {
      expression,
      includeCommandLineAPI: true,
      returnByValue: true,
    })
    return resultOf(answer)
  }

  /** Ends the session, and the inspector, if it was opened here. @returns whether that is so again */
  async close(proc: ProcFiles, target: Target, port = portsOf(proc, target.pid)): Promise<boolean> {
    if (this.wasOpen) {
      this.#line.close()
      return true
    }
    const expression = `(process.getBuiltinModule?.('inspector') ?? require('inspector')).close()`
    // The answer may be lost with the line.
    this.call('Runtime.evaluate', { expression, includeCommandLineAPI: true }).catch(() => {})
    const deadline = systemClock.now() + PATIENCE_MILLIS
    for (;;) {
      await pause(POLL_MILLIS)
      const open = await inspectorAt(portsOf(proc, target.pid).filter(one => port.includes(one)))
      if (open === undefined || systemClock.now() > deadline) {
        this.#line.close()
        return open === undefined
      }
    }
  }

  #received(text: string): void {
    const message = JSON.parse(text) as {
      id?: number
      method?: string
      params?: Answer
      result?: Answer
      error?: Answer
    }
    if (message.method !== undefined) this.#listeners.get(message.method)?.(message.params ?? {})
    const call = message.id === undefined ? undefined : this.#open.get(message.id)
    if (message.error !== undefined) call?.reject(new Error(String(message.error.message)))
    else call?.resolve(message.result ?? {})
  }

  #ended(): void {
    for (const { reject } of this.#open.values()) reject(new Error('the inspector has closed the connection'))
  }
}

/** @throws Error with what the expression threw */
export function resultOf({ result, exceptionDetails }: Answer): unknown {
  if (exceptionDetails !== undefined) {
    const { exception, text } = exceptionDetails as { exception?: { description?: string }; text: string }
    throw new Error(exception?.description ?? text)
  }
  return (result as { value?: unknown }).value
}

const portsOf = (proc: ProcFiles, pid: number): number[] =>
  sampleOf(proc, pid, 0).sockets.flatMap(({ direction, local }) =>
    direction === 'listen' ? [local.port] : [],
  )

/** The first of some ports at which an inspector answers. */
async function inspectorAt(ports: readonly number[]): Promise<{ port: number; path: string } | undefined> {
  for (const port of ports) {
    const path = await pathAt(port)
    if (path !== undefined) return { port, path }
  }
  return undefined
}

function pathAt(port: number): Promise<string | undefined> {
  return new Promise(resolve => {
    const call = get(
      { host: '127.0.0.1', port, path: '/json/list', timeout: 1000, agent: false },
      response => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        response.on('end', () => {
          const url = /"webSocketDebuggerUrl":\s*"ws:\/\/[^/"]+(\/[^"]+)"/.exec(text)?.[1]
          resolve(url)
        })
        response.on('error', () => resolve(undefined))
      },
    )
    call.on('timeout', () => call.destroy())
    call.on('error', () => resolve(undefined))
  })
}

function within<T>(promise: Promise<T>, millis: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = systemClock.after(millis, () => reject(new Error(`${what}: no answer within ${millis} ms`)))
    timer.hold(true)
    promise.then(resolve, reject).finally(() => timer.cancel())
  })
}
