import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/**
 * How many connections this process has to that one of the ports to which it has most, those that are being opened or
 * closed included. Each counts once, by its inode: the kernel's table may change while it is read, and tell a connection
 * twice. Reading it takes long on a machine with many connections.
 */
export function mostConnectionsTo(ports: readonly number[]): number {
  const own = new Set(
    readdirSync('/proc/self/fd').flatMap(fd => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`).match(/^socket:\[(\d+)\]$/)?.[1] ?? '']
      } catch {
        return []
      }
    }),
  )
  const found = new Map(ports.map(port => [port, new Set<string>()]))
  for (const row of readFileSync('/proc/self/net/tcp', 'latin1').split('\n').slice(1)) {
    const [, , remote = '', , , , , , , inode = ''] = row.trim().split(/\s+/)
    if (own.has(inode)) found.get(Number.parseInt(remote.split(':')[1] ?? '', 16))?.add(inode)
  }
  return Math.max(...[...found.values()].map(({ size }) => size))
}

/**
 * How many connections to a node there may be, if the longest loan took so long: only if none is returned for 200 ms, on
 * a machine that stands still for example, does the pool open one more to ask the node.
 */
export const allowed = (max: number, longestMillis: number): number => (longestMillis < 150 ? max : max + 1)
