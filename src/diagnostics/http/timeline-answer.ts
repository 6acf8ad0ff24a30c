import type { ServerResponse } from 'node:http'
import { systemClock } from '../../runtime/time/clock.ts'
import { recordTimeline } from '../timeline/record-timeline.ts'
import type { Handler } from './unread-limit.ts'

const MOST_SECONDS = 600
const DEFAULT_SECONDS = 10
/** Recordings at a time. Each costs every loan some microseconds. */
const MOST_RECORDINGS = 2
/** How often a space is sent, so that nothing on the way takes the connection for dead. Milliseconds. */
const SIGN_MILLIS = 2000
/** A client that has not read the answer after this time is disconnected. Milliseconds. */
const READ_MILLIS = 10_000

/** Records for `?seconds=` (10), of all pools or of `?pool=`, and then answers with the recording as JSON. */
export function answerTimeline(): Handler {
  let running = 0
  return (request, response) => {
    const query = new URLSearchParams(/\?(.*)$/.exec(request.url ?? '')?.[1] ?? '')
    const seconds = Number(query.get('seconds') ?? DEFAULT_SECONDS)
    if (!(seconds > 0 && seconds <= MOST_SECONDS)) {
      refuse(response, 400, `seconds must be a number above 0, at most ${MOST_SECONDS}.\n`)
      return
    }
    if (running >= MOST_RECORDINGS) {
      refuse(response, 503, `${MOST_RECORDINGS} recordings are under way already.\n`)
      return
    }
    running += 1
    const recording = recordTimeline({ pool: query.get('pool') ?? undefined })
    response.writeHead(200, {
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
    })
    response.write(' ')
    const until = systemClock.now() + seconds * 1000
    const step = (): void => {
      const left = until - systemClock.now()
      if (left > 0) {
        response.write(' ')
        timer = systemClock.after(Math.min(left, SIGN_MILLIS), step)
        return
      }
      response.end(`${JSON.stringify(recording.stop())}\n`)
      timer = systemClock.after(READ_MILLIS, () => response.destroy())
    }
    let timer = systemClock.after(Math.min(seconds * 1000, SIGN_MILLIS), step)
    response.once('close', () => {
      running -= 1
      timer.cancel()
      recording.stop()
    })
  }
}

function refuse(response: ServerResponse, status: number, words: string): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(words),
    'cache-control': 'no-store',
  })
  response.end(words)
}
