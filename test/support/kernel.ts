import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'

/**
 * Asks, while the socket is open, what to look for; the answer tells in which TCP states (in hexadecimal) the kernel
 * has the connection, whoever owns it. Without /proc, and for a Unix socket: in none.
 */
export function kernelStates({ localPort, remotePort }: Socket): () => Promise<string[]> {
  const ends = [localPort, remotePort].map(
    port => `:${(port ?? 0).toString(16).toUpperCase().padStart(4, '0')}`,
  )
  return async () => {
    const tables = ['tcp', 'tcp6'].map(name => readFile(`/proc/net/${name}`, 'latin1').catch(() => ''))
    return (await Promise.all(tables))
      .flatMap(table => table.split('\n'))
      .map(line => line.trim().split(/\s+/))
      .filter(([, local, remote]) => local?.endsWith(ends[0] ?? '') && remote?.endsWith(ends[1] ?? ''))
      .map(([, , , state]) => state ?? '')
  }
}
