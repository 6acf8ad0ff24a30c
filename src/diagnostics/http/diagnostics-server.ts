import { createServer, type IncomingMessage, type Server } from 'node:http'
import { show } from '../../api/options/read-input.ts'
import { badOptions } from '../../api/options/resolve-options.ts'
import { outsideContext } from '../../runtime/async-context.ts'
import { type DiagnosticsHandlerOptions, diagnosticsHandler, wrongToken } from './diagnostics-handler.ts'
import { defaultSocketPath, makePrivate, removeAtExit, removeStaleSocket } from './unix-socket.ts'
import type { Handler } from './unread-limit.ts'

/** Where the server of {@link serveDiagnostics} listens, and to whom it answers. */
export interface DiagnosticsServerOptions extends DiagnosticsHandlerOptions {
  /**
   * The path of a Unix socket that only this user can connect to. Default: `lifeguard-pool-<pid>.sock` in the folder
   * for temporary files.
   */
  readonly path?: string | undefined
  /** A TCP port instead of a socket path; 0 picks a free one. */
  readonly port?: number | undefined
  /** Used with `port`. Default `'127.0.0.1'`. An address that is not the loopback needs a `token`. */
  readonly host?: string | undefined
}

export interface DiagnosticsServer {
  /** The path of the Unix socket, or the URL. */
  readonly address: string
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** The most connections at a time. Further ones are closed. */
const MOST_CONNECTIONS = 32
/** How long a client may take to send a request, or to accept more of the response. Milliseconds. */
const CLIENT_MILLIS = 10_000
const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|\[?::1\]?|localhost)$/

/**
 * Serves {@link diagnosticsHandler} from a separate server, which does not keep the process alive. A socket file that a
 * dead process left at the path is replaced.
 *
 * @throws PoolError `POOL_BAD_OPTIONS`; the error of `listen`; or Error if the path is in use
 */
export async function serveDiagnostics(options: DiagnosticsServerOptions = {}): Promise<DiagnosticsServer> {
  const issues = wrongWith(options)
  if (issues.length > 0) throw badOptions(issues)
  const { port, host = '127.0.0.1', token, path = defaultSocketPath() } = options
  const handler = diagnosticsHandler(options)
  const isOpen = port !== undefined && token === undefined
  return outsideContext(async () => {
    const server = createServer(isOpen ? localOnly(handler) : handler)
    Object.assign(server, { maxConnections: MOST_CONNECTIONS, timeout: CLIENT_MILLIS })
    Object.assign(server, { headersTimeout: CLIENT_MILLIS, requestTimeout: CLIENT_MILLIS })
    server.unref().on('connection', socket => socket.unref())
    let forget: () => void = () => {}
    if (port === undefined) {
      await removeStaleSocket(path)
      await listening(server, { path }, () => makePrivate(path))
      forget = removeAtExit(path)
    } else await listening(server, { port, host })
    const close = (): Promise<void> =>
      new Promise(resolve => {
        forget()
        server.close(() => resolve())
        server.closeAllConnections()
      })
    return { address: addressOf(server, path), close, [Symbol.asyncDispose]: close }
  })
}

function wrongWith(options: DiagnosticsServerOptions): string[] {
  const { path, port, host, token } = options
  const issues: string[] = []
  if (path !== undefined && (typeof path !== 'string' || path === ''))
    issues.push(`path must be the path of a Unix socket, got ${show(path)}`)
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535))
    issues.push(`port must be a whole number from 0 to 65535, got ${show(port)}`)
  if (path !== undefined && port !== undefined) issues.push('path and port exclude each other')
  if (host !== undefined && port === undefined) issues.push('host needs a port')
  if (host !== undefined && typeof host !== 'string') issues.push(`host must be a text, got ${show(host)}`)
  const issue = wrongToken(options)
  if (issue !== undefined) issues.push(issue)
  if (port !== undefined && token === undefined && !LOOPBACK.test(host ?? '127.0.0.1'))
    issues.push(
      `host ${show(host)} can be reached from other machines: give a token, or listen on 127.0.0.1 or a Unix socket`,
    )
  return issues
}

/**
 * Protects against DNS rebinding: a web page could make its own host name resolve to the loopback and then read the
 * reports through the browser. So the `Host` header must name the loopback.
 */
function localOnly(handler: Handler): Handler {
  const isLocal = ({ headers }: IncomingMessage): boolean =>
    LOOPBACK.test((headers.host ?? '').replace(/:\d+$/, ''))
  return (request, response) => {
    if (isLocal(request)) handler(request, response)
    else response.writeHead(403).end()
  }
}

/** @param onBound - called before the first client can be accepted */
function listening(
  server: Server,
  where: { path: string } | { port: number; host: string },
  onBound: () => void = () => {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const bound = (): void => {
      try {
        onBound()
      } catch (error) {
        server.close()
        reject(error)
      }
    }
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      // A listening server can still emit errors, such as EMFILE on accept. They must not end the process.
      server.on('error', () => {})
      // In a cluster, it is bound only by now.
      bound()
      resolve()
    })
    if (server.listening) bound()
  })
}

function addressOf(server: Server, path: string): string {
  const address = server.address()
  if (address === null || typeof address === 'string') return path
  return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`
}
