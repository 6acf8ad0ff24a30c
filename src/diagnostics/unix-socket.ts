import { chmodSync, lstatSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Where the socket of this process lies unless somebody says otherwise. */
export const defaultSocketPath = (): string => join(tmpdir(), `lifeguard-pool-${process.pid}.sock`)

/**
 * Makes room for a socket at this path: removes one that a process has left behind which is gone. A socket that somebody
 * answers at, and whatever is no socket, stays.
 *
 * @throws Error that says what is in the way
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) throw new Error(`${path} is there, and is no socket: choose another path`)
  if (await isAnswered(path)) throw new Error(`${path} is in use by another process: choose another path`)
  // Nobody else's that has taken the place meanwhile.
  if (lstatSync(path, { throwIfNoEntry: false })?.ino === found.ino) rmSync(path, { force: true })
}

/** A process that ends without closing its server leaves no socket behind. @returns ends it */
export function removeAtExit(path: string): () => void {
  const remove = (): void => rmSync(path, { force: true })
  process.once('exit', remove)
  return () => process.off('exit', remove)
}

/** Only its owner may connect. */
export const makePrivate = (path: string): void => chmodSync(path, 0o600)

/** A listener that is there, but slow, is there. */
function isAnswered(socketPath: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = request({ socketPath, path: '/healthz', agent: false })
    const settle = (answered: boolean): void => {
      resolve(answered)
      probe.destroy()
    }
    probe.on('socket', socket => socket.on('connect', () => settle(true)))
    probe.on('error', () => settle(false))
    probe.end()
  })
}
