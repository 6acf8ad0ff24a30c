import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'

/** A connection that the server was told to kill. It did so between the two times (of `now()`). */
export interface Kill {
  readonly name: string
  readonly sentAt: number
  /** The server closes the connection before it answers: from here on its FIN lies in our kernel. */
  readonly answeredAt: number
}

const LEAVE_MILLIS = 1000

export interface KillerData {
  readonly url: string
  readonly prefix: string
}

export type Question =
  | { readonly id: number; readonly what: 'kill'; readonly count: number; readonly afterMillis: number }
  | { readonly id: number; readonly what: 'count' }
  | { readonly id: number; readonly what: 'leave' }

export interface Answer {
  readonly id: number
  readonly kills?: readonly Kill[]
  readonly count?: number
  readonly error?: string
}

/** Kills connections of the service from the server's side (`CLIENT KILL ID`), by way of a thread of its own. */
export class Killer {
  readonly #worker: Worker
  readonly #asked = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>()
  #lastId = 0

  /** @param data - the server, and with what the names of the service's connections begin */
  constructor(data: KillerData) {
    this.#worker = new Worker(new URL('./killer-worker.js', import.meta.url), { workerData: data })
    this.#worker.on('message', (answer: Answer) => {
      const asked = this.#asked.get(answer.id)
      this.#asked.delete(answer.id)
      if (answer.error === undefined) asked?.resolve(answer)
      else asked?.reject(new Error(`the administrator's connection: ${answer.error}`))
    })
    this.#worker.on('error', error => {
      for (const { reject } of this.#asked.values()) reject(error)
    })
  }

  /** Kills up to so many connections, chosen at random. Resolves with those that were there to be killed. */
  async kill(count: number, afterMillis = 0): Promise<readonly Kill[]> {
    const { kills = [] } = await this.#ask({ id: ++this.#lastId, what: 'kill', count, afterMillis })
    return kills
  }

  /** How many connections of the service the server has. */
  async count(): Promise<number> {
    const { count = 0 } = await this.#ask({ id: ++this.#lastId, what: 'count' })
    return count
  }

  /** Takes leave of the server, if that still answers, and ends the thread. */
  async close(): Promise<void> {
    const limit = new AbortController()
    const left = this.#ask({ id: ++this.#lastId, what: 'leave' })
    await Promise.race([left, delay(LEAVE_MILLIS, undefined, { signal: limit.signal })]).catch(() => {})
    limit.abort()
    await this.#worker.terminate()
  }

  #ask(question: Question): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#asked.set(question.id, { resolve, reject })
      this.#worker.postMessage(question)
    })
  }
}
