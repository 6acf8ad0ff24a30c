import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { messageOf } from '../api/errors.ts'
import { healthOf } from './health.ts'
import { reportHandler } from './http-handler.ts'
import { CONTENT_TYPE, exposition, families } from './metrics/exposition.ts'

/** What `diagnosticsHandler` answers, and to whom. */
export interface DiagnosticsHandlerOptions {
  /** Clients must send `Authorization: Bearer <token>`. Default: no token is needed. */
  readonly token?: string | undefined
  /** `/healthz` answers 503 once an acquire has waited this long for a connection. Milliseconds. Default: never. */
  readonly maxWaitMillis?: number | undefined
}

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

/**
 * Returns a handler for `node:http`, with or without a framework. It answers GET requests only:
 *
 * - `/metrics`: all pools in Prometheus's text format;
 * - `/healthz`: JSON, with status 200 if all pools are healthy, otherwise 503;
 * - `/report`: the reports of all pools as text or JSON, see {@link reportHandler}.
 *
 * Reports contain call stacks and addresses: mount it where only operators can reach it, or set a token.
 */
export function diagnosticsHandler(options: DiagnosticsHandlerOptions = {}): Handler {
  const report = reportHandler()
  const isAllowed = options.token === undefined ? () => true : tokenCheck(options.token)
  return (request, response) => {
    try {
      if (!isAllowed(request))
        send(response, 401, TEXT, 'A token is needed: Authorization: Bearer …\n', {
          'www-authenticate': 'Bearer',
        })
      else if (request.method !== 'GET')
        send(response, 405, TEXT, 'Only GET is answered here.\n', { allow: 'GET' })
      else route(request, response, report, options)
    } catch (error) {
      if (response.headersSent) response.destroy()
      else send(response, 500, TEXT, `${messageOf(error)}\n`)
    }
  }
}

const TEXT = 'text/plain; charset=utf-8'
const JSON_TYPE = 'application/json; charset=utf-8'

function route(
  request: IncomingMessage,
  response: ServerResponse,
  report: Handler,
  { maxWaitMillis = Number.POSITIVE_INFINITY }: DiagnosticsHandlerOptions,
): void {
  const [path] = (request.url ?? '').split('?', 1)
  if (path === '/metrics') send(response, 200, CONTENT_TYPE, exposition(families()))
  else if (path === '/healthz') {
    const health = healthOf(maxWaitMillis)
    send(response, health.ok ? 200 : 503, JSON_TYPE, `${JSON.stringify(health, null, 2)}\n`)
  } else if (path === '/report') report(request, response)
  else send(response, 404, TEXT, 'There are /metrics, /healthz and /report.\n')
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
