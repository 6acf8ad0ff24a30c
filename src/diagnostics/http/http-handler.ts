import type { IncomingMessage, ServerResponse } from 'node:http'
import { messageOf } from '../../api/errors.ts'
import { allReports, reportAll } from '../all-reports.ts'
import { withUnreadLimit } from './unread-limit.ts'

/** Which pools `reportHandler` reports on. */
export interface ReportHandlerOptions {
  /** The name of a pool. Default: all pools of the process, or the one named by `?pool=`. */
  pool?: string
}

/**
 * Returns a handler for `node:http`, with or without a framework, for a separate port or Unix socket. It answers GET
 * with the reports of all pools: as JSON for `?format=json` and for clients that accept only JSON, otherwise as text.
 * Reports contain call stacks and addresses: mount it where only operators can reach it. At most eight clients may take
 * up to ten seconds to read. Others get 503 meanwhile, so that reports do not pile up in memory.
 *
 * @example http.createServer(reportHandler()).listen('/run/my-service/pools.sock')
 */
export function reportHandler(
  options: ReportHandlerOptions = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  return withUnreadLimit((request, response) => {
    try {
      answer(request, response, options.pool)
    } catch (error) {
      if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8' })
      response.end(`${messageOf(error)}\n`)
    }
  })
}

function answer(request: IncomingMessage, response: ServerResponse, only: string | undefined): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end()
    return
  }
  const query = new URLSearchParams(/\?(.*)$/.exec(request.url ?? '')?.[1] ?? '')
  const pool = only ?? query.get('pool') ?? undefined
  const accepted = request.headers.accept ?? '*/*'
  const wantsJson = /application\/json/.test(accepted) && !/text\/|\*\/\*/.test(accepted)
  const isJson = query.get('format') === 'json' || (wantsJson && query.get('format') !== 'text')
  const body = isJson ? `${JSON.stringify(allReports(pool), null, 2)}\n` : `${reportAll(pool).join('\n')}\n`
  response.writeHead(200, {
    'content-type': isJson ? 'application/json; charset=utf-8' : 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}
