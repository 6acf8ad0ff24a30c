import type { IncomingMessage, ServerResponse } from 'node:http'
import { systemClock } from '../../runtime/time/clock.ts'

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** At most this many responses wait for slow clients. Further requests are answered with 503. */
const MOST_UNREAD = 8
/** A client that has not read its response after this time is disconnected. Milliseconds. */
const READ_MILLIS = 10_000

/** Limits the responses that wait for slow clients, so that large ones do not pile up in memory. */
export function withUnreadLimit(answer: Handler): Handler {
  let unread = 0
  return (request, response) => {
    if (unread >= MOST_UNREAD) {
      response.writeHead(503, { 'retry-after': '1', 'content-length': 0 }).end()
      return
    }
    unread += 1
    const limit = systemClock.after(READ_MILLIS, () => response.destroy())
    response.once('close', () => {
      unread -= 1
      limit.cancel()
    })
    answer(request, response)
  }
}
