import { readFile } from 'node:fs/promises'

/** TCP states, in hexadecimal as the kernel writes them, of the sockets with this local port, whoever owns them. */
export async function kernelStates(port: number | undefined): Promise<string[]> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map(name => readFile(`/proc/net/${name}`, 'latin1').catch(() => '')),
  )
  const suffix = `:${(port ?? 0).toString(16).toUpperCase().padStart(4, '0')}`
  return tables
    .flatMap(table => table.split('\n'))
    .map(line => line.trim().split(/\s+/))
    .flatMap(([, local, , state]) => (local?.endsWith(suffix) && state !== undefined ? [state] : []))
}
