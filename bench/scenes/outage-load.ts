import { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** One request of the load, answered or not. Times are those of `performance.now()`. */
export interface Request {
  readonly at: number
  millis?: number
  failed?: boolean
}

/** What a contender did over time: its requests, and when it tried to connect. */
export interface Load {
  readonly requests: Request[]
  readonly dials: number[]
  stop(): Promise<void>
}

const EVERY_MILLIS = 2

/** A request every two milliseconds: nobody's requests wait for others. */
export function startLoad(ask: () => Promise<unknown>): Load {
  const requests: Request[] = []
  const open = new Set<Promise<void>>()
  const dials = countDials()
  let due = performance.now()
  const timer = setInterval(() => {
    for (const now = performance.now(); due <= now; due += EVERY_MILLIS) {
      const request: Request = { at: performance.now() }
      requests.push(request)
      const outcome = asked(ask).then(failed => {
        if (failed) request.failed = true
        request.millis = performance.now() - request.at
        open.delete(outcome)
      })
      open.add(outcome)
    }
  }, EVERY_MILLIS)
  return {
    requests,
    dials: dials.at,
    async stop() {
      clearInterval(timer)
      await Promise.race([Promise.all(open), delay(6000)])
      dials.stop()
    },
  }
}

const asked = (ask: () => Promise<unknown>): Promise<boolean> =>
  new Promise(resolve => resolve(ask())).then(
    () => false,
    () => true,
  )

/** When any socket of this process began to connect: nobody else sees those that are refused. */
export function countDials(): { readonly at: number[]; stop(): void } {
  const at: number[] = []
  const { connect } = Socket.prototype
  Socket.prototype.connect = function counted(this: Socket, ...args: unknown[]) {
    at.push(performance.now())
    return Reflect.apply(connect, this, args) as Socket
  } as typeof connect
  return {
    at,
    stop: () => {
      Socket.prototype.connect = connect
    },
  }
}

export const within = (times: readonly number[], from: number, to: number): number =>
  times.filter(at => at >= from && at < to).length

/** So many callers that ask again as soon as they have heard. @returns how often each outcome came */
export async function eager(callers: number, millis: number, ask: () => Promise<unknown>): Promise<void> {
  const end = performance.now() + millis
  const caller = async (): Promise<void> => {
    while (performance.now() < end) {
      await Promise.race([asked(ask), delay(Math.max(end - performance.now(), 0))])
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  await Promise.all(Array.from({ length: callers }, caller))
}
