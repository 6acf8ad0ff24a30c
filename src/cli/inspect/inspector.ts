import { systemClock } from '../../runtime/time/clock.ts'
import type { Place } from './places.ts'
import { openWebSocket, type WebSocketLine } from './websocket.ts'

/** For any single step. Milliseconds. */
export const PATIENCE_MILLIS = 15_000

type Answer = Readonly<Record<string, unknown>>

/** A line to the inspector of a Node process. */
export class Inspector {
  readonly #line: WebSocketLine
  readonly #open = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>()
  readonly #listeners = new Map<string, (params: Answer) => void>()
  #last = 0
  #hasEnded = false

  private constructor(line: WebSocketLine) {
    this.#line = line
  }

  /** @throws Error if nothing answers there */
  static async connect(place: Place): Promise<Inspector> {
    let heard: (text: string) => void = () => {}
    let ended = (): void => {}
    const line = await openWebSocket(
      place,
      { message: text => heard(text), closed: () => ended() },
      PATIENCE_MILLIS,
    )
    const inspector = new Inspector(line)
    heard = text => inspector.#received(text)
    ended = () => inspector.#ended()
    return inspector
  }

  /** @throws Error if the process does not answer in time, or says that it cannot */
  async call(method: string, params: Answer = {}, millis = PATIENCE_MILLIS): Promise<Answer> {
    if (this.#hasEnded) throw new Error(ENDED)
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

  disconnect(): void {
    this.#line.close()
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
    this.#hasEnded = true
    for (const { reject } of this.#open.values()) reject(new Error(ENDED))
  }
}

const ENDED = 'the inspector has closed the connection'

/** @throws Error with what the expression threw */
export function resultOf({ result, exceptionDetails }: Answer): unknown {
  if (exceptionDetails !== undefined) {
    const { exception, text } = exceptionDetails as { exception?: { description?: string }; text: string }
    throw new Error(exception?.description ?? text)
  }
  return (result as { value?: unknown }).value
}

export function within<T>(promise: Promise<T>, millis: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = systemClock.after(millis, () => reject(new Error(`${what}: no answer within ${millis} ms`)))
    timer.hold(true)
    promise.then(resolve, reject).finally(() => timer.cancel())
  })
}
