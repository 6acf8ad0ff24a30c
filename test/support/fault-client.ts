import { once } from 'node:events'
import { readSync } from 'node:fs'
import { connect as connectNet, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { FaultAddress, FaultServerOptions } from './fault-operations.ts'
import { tlsCertificate } from './tls.ts'

export interface FaultClient {
  /** What a pool would lend: the TLS socket with TLS, else the same as `raw`. */
  socket: Socket
  raw: Socket
}

/**
 * Connects to a fault server and resolves once nothing is under way: with TLS 1.3, after the server's two session
 * tickets, which otherwise lie in the kernel like unasked-for data. Connect one after the other, or ask
 * `server.indexOf(raw.localPort)`, to know which connection it is.
 */
export async function connectFaultClient(
  server: FaultAddress & { options: FaultServerOptions },
  { allowHalfOpen = false }: { allowHalfOpen?: boolean } = {},
): Promise<FaultClient> {
  const { host, port, path, options } = server
  const raw = connectNet(path === undefined ? { host, port, allowHalfOpen } : { path, allowHalfOpen })
  raw.on('error', () => {})
  if (options.tls === undefined) {
    await once(raw, 'connect')
    return { socket: raw, raw }
  }
  await once(raw, 'connect')
  const socket: TLSSocket = connectTls({ socket: raw, ca: tlsCertificate, servername: 'localhost' })
  socket.on('error', () => {})
  let tickets = 0
  socket.on('session', () => tickets++)
  await once(socket, 'secureConnect')
  while (options.tls.version !== '1.2' && tickets < 2) await once(socket, 'session')
  return { socket, raw }
}

/** What the kernel knows about a socket: `'data'` means that one byte has been taken from it. */
export type KernelTruth = 'healthy' | 'fin' | 'data' | 'reset' | 'no fd'

/** Asks the kernel, past everything that the event loop has or has not noticed yet. */
export function kernelTruth(socket: Socket): KernelTruth {
  const { _handle: handle } = socket as Socket & { _handle?: { fd?: number } | null }
  const fd = handle?.fd ?? -1
  if (fd < 0) return 'no fd'
  try {
    return readSync(fd, Buffer.alloc(1), 0, 1, null) === 0 ? 'fin' : 'data'
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EAGAIN') return 'healthy'
    if (code === 'ECONNRESET') return 'reset'
    throw error
  }
}
