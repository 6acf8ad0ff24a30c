import { chmodSync, lstatSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The socket path of a process, by default this one, if none is configured. */
export const defaultSocketPath = (pid = process.pid): string => join(tmpdir(), `lifeguard-pool-${pid}.sock`)

/**
 * Makes room for a socket at this path: removes a socket file that a dead process left behind. Leaves alone a socket on
 * which somebody answers, and anything that is not a socket.
 *
 * @throws Error that says what is in the way
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) throw new Error(`${path} exists and is not a socket: choose another path`)
  if (await isAnswered(path)) throw new Error(`${path} is in use by another process: choose another path`)
  // Another process may have put its own socket there meanwhile: remove only the file that was checked.
  if (lstatSync(path, { throwIfNoEntry: false })?.ino === found.ino) rmSync(path, { force: true })
}

/**
 * Removes the socket file when the process ends without closing its server.
 * @returns a function that cancels this
 */
export function removeAtExit(path: string): () => void {
  const remove = (): void => rmSync(path, { force: true })
  process.once('exit', remove)
  return () => process.off('exit', remove)
}

/** Lets only the owner of the socket connect. */
export const makePrivate = (path: string): void => chmodSync(path, 0o600)

/**
 * A listener that is slow to answer is there. So is one that does not accept connections fast enough (`EAGAIN`), or that
 * this user may not reach (`EACCES`): only a socket that nobody listens on refuses.
 */
function isAnswered(socketPath: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = request({ socketPath, path: '/healthz', agent: false })
    const settle = (answered: boolean): void => {
      resolve(answered)
      probe.destroy()
    }
    probe.on('socket', socket => socket.on('connect', () => settle(true)))
    probe.on('error', ({ code }: NodeJS.ErrnoException) =>
      settle(code !== 'ECONNREFUSED' && code !== 'ENOENT'),
    )
    probe.end()
  })
}
