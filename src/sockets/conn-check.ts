import { readSync } from 'node:fs'
import type { Socket } from 'node:net'
import { withoutStack } from '../runtime/stack-limit.ts'

/** What the kernel says of an idle connection. `'data'`: one byte has been taken from it, so it must be destroyed. */
export type SocketCheck = 'healthy' | 'fin' | 'data' | 'reset' | 'unknown'

const byte = new Uint8Array(1)
/** The handles of libuv that stand for one socket. Each is non-blocking, or a look could last for ever. */
const HANDLES: ReadonlySet<string | undefined> = new Set(['TCP', 'Pipe', 'TLSWrap'])

/**
 * The descriptor under a socket, where it can be looked at: `_handle.fd` is private to Node, and -1 on Windows.
 *
 * @returns undefined if it cannot, or if the socket is closed
 */
export function descriptorOf(socket: Socket): number | undefined {
  try {
    const { _handle: handle } = socket as { _handle?: { fd?: unknown } | null }
    if (handle === null || handle === undefined || !HANDLES.has(handle.constructor?.name)) return undefined
    const { fd } = handle
    return typeof fd === 'number' && fd >= 0 && process.platform !== 'win32' ? fd : undefined
  } catch {
    return undefined
  }
}

/**
 * Asks the kernel, past everything that the event loop has or has not delivered: about 3 µs, most of them for the
 * error with which Node tells that there is nothing to read. It is what Go's `conncheck` does for MySQL and Redis.
 *
 * Only for sockets that are idle, and on which the peer has nothing to say unasked. A reset is reported once only.
 */
export function checkSocket(socket: Socket): SocketCheck {
  const fd = descriptorOf(socket)
  if (fd === undefined) return 'unknown'
  try {
    // A stack costs as much as the rest.
    return withoutStack(() => readSync(fd, byte, 0, 1, null)) === 0 ? 'fin' : 'data'
  } catch (error) {
    return resultOf((error as NodeJS.ErrnoException).code)
  }
}

function resultOf(code: string | undefined): SocketCheck {
  if (code === 'EAGAIN') return 'healthy'
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'ETIMEDOUT' || code === 'EHOSTUNREACH')
    return 'reset'
  return 'unknown'
}
