import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { messageOf } from '../../api/errors.ts'
import { badOptions } from '../../api/options/resolve-options.ts'
import { systemClock } from '../../runtime/time/clock.ts'
import { livePage, wantsPage } from '../live/live-page.ts'
import { liveData } from '../live/live-report.ts'
import { CONTENT_TYPE, exposition, families } from '../metrics/exposition.ts'
import { healthOf } from './health-check.ts'
import { reportHandler } from './http-handler.ts'
import { answerTimeline } from './timeline-answer.ts'
import { type Handler, withUnreadLimit } from './unread-limit.ts'

/** What `diagnosticsHandler` answers, and to whom. */
export interface DiagnosticsHandlerOptions {
  /** Clients must send `Authorization: Bearer <token>`. Default: no token is needed. */
  readonly token?: string
  /** `/healthz` answers 503 once an acquire has waited this long for a connection. Milliseconds. Default: never. */
  readonly maxWaitMillis?: number | undefined
}

/**
 * Returns a handler for `node:http`, with or without a framework. It answers GET requests only:
 *
 * - `/metrics`: all pools in Prometheus's text format;
 * - `/healthz`: JSON, with status 200 if all pools are healthy, otherwise 503;
 * - `/report`: the reports of all pools as text or JSON, see {@link reportHandler};
 * - `/`: for browsers, a page that shows the pools live. It reads `/live.json`;
 * - `/timeline.json?seconds=10`: records what the pools do for so long, see {@link recordTimeline}.
 *
 * Reports contain call stacks and addresses: mount it where only operators can reach it, or set a token. At most eight
 * clients each may take up to ten seconds to read metrics and reports. Others get 503 meanwhile.
 *
 * @throws PoolError `POOL_BAD_OPTIONS`
 */
export function diagnosticsHandler(options: DiagnosticsHandlerOptions = {}): Handler {
  const issue = wrongToken(options)
  if (issue !== undefined) throw badOptions([issue])
  const handlers: Handlers = {
    '/metrics': withUnreadLimit(answerMetrics),
    // Without a limit: a slow reader elsewhere must not make the process look ill. The answer is small.
    '/healthz': (_, response) => answerHealth(response, options),
    '/report': reportHandler(),
    '/live.json': withUnreadLimit(answerLive()),
    '/timeline.json': answerTimeline(),
  }
  const isAllowed = options.token === undefined ? () => true : tokenCheck(options.token)
  return (request, response) => {
    try {
      const isPage = isPageRequest(request)
      if (isPage) sendPage(response, isAllowed(request) ? 200 : 401)
      else if (!isAllowed(request))
        send(response, 401, TEXT, 'A token is needed: Authorization: Bearer …\n', {
          'www-authenticate': 'Bearer',
        })
      else if (request.method !== 'GET')
        send(response, 405, TEXT, 'Only GET is answered here.\n', { allow: 'GET' })
      else route(request, response, handlers)
    } catch (error) {
      if (response.headersSent) response.destroy()
      else send(response, 500, TEXT, `${messageOf(error)}\n`)
    }
  }
}

const TEXT = 'text/plain; charset=utf-8'
const JSON_TYPE = 'application/json; charset=utf-8'

type Handlers = Readonly<
  Record<'/metrics' | '/healthz' | '/report' | '/live.json' | '/timeline.json', Handler>
>

function route(request: IncomingMessage, response: ServerResponse, handlers: Handlers): void {
  const [path = ''] = (request.url ?? '').split('?', 1)
  if (Object.hasOwn(handlers, path)) handlers[path as keyof Handlers](request, response)
  else send(response, 404, TEXT, ANSWERS)
}

const ANSWERS =
  'There are /metrics, /healthz, /report, /live.json, /timeline.json and, for a browser, the page /. Mounted below a path, ' +
  'this handler must be given what follows that path in request.url.\n'

/** A browser that opens `/`. Whatever else asks for it is told that there is nothing. */
const isPageRequest = ({ method, url, headers }: IncomingMessage): boolean =>
  method === 'GET' && /^\/(?:\?|$)/.test(url ?? '') && wantsPage(headers.accept)

/** The page itself holds no data: without the token it only asks for it. */
function sendPage(response: ServerResponse, status: 200 | 401): void {
  const { html, headers } = livePage()
  const more = status === 401 ? { ...headers, 'www-authenticate': 'Bearer' } : { ...headers }
  send(response, status, 'text/html; charset=utf-8', html, more)
}

/** An answer is good for this long, so that many open pages cost as much as one. Milliseconds. */
const LIVE_MILLIS = 400

function answerLive(): Handler {
  let body = ''
  let readAt = Number.NEGATIVE_INFINITY
  return (_, response) => {
    if (systemClock.now() - readAt > LIVE_MILLIS) {
      body = JSON.stringify(liveData())
      readAt = systemClock.now()
    }
    send(response, 200, JSON_TYPE, body)
  }
}

const answerMetrics: Handler = (_, response) => send(response, 200, CONTENT_TYPE, exposition(families()))

function answerHealth(
  response: ServerResponse,
  { maxWaitMillis = Number.POSITIVE_INFINITY }: DiagnosticsHandlerOptions,
): void {
  const health = healthOf(maxWaitMillis)
  send(response, health.ok ? 200 : 503, JSON_TYPE, `${JSON.stringify(health, null, 2)}\n`)
}

function send(
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
  more: Record<string, string> = {},
): void {
  const length = Buffer.byteLength(body)
  response.writeHead(status, {
    ...{ 'content-type': type, 'content-length': length, 'cache-control': 'no-store' },
    ...more,
  })
  response.end(body)
}

/** Compares hashes in constant time, so that the response time reveals nothing about the token. */
function tokenCheck(token: string): (request: IncomingMessage) => boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  const wanted = digest(`Bearer ${token}`)
  return ({ headers }) => timingSafeEqual(digest(headers.authorization ?? ''), wanted)
}

/** What is wrong with a token. Whoever asks for one, and has none in his environment, must not be open to everybody. */
export function wrongToken(options: { readonly token?: string | undefined }): string | undefined {
  const { token } = options
  if (token === undefined)
    return Object.hasOwn(options, 'token')
      ? 'token is undefined: is its environment variable set? Leave the option out if no token is wanted'
      : undefined
  if (typeof token !== 'string' || !/^[!-~]+$/.test(token))
    return 'token must be a text of printable ASCII characters without spaces, as it is sent in a header'
  return undefined
}
