import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/**
 * How many connections this process has to a port, those that are being opened or closed included. Each counts once, by its
 * inode: the kernel's table may change while it is read, and tell a connection twice.
 */
export function connectionsTo(port: number): number {
  const own = new Set(
    readdirSync('/proc/self/fd').flatMap(fd => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`).match(/^socket:\[(\d+)\]$/)?.[1] ?? '']
      } catch {
        return []
      }
    }),
  )
  const rows = readFileSync('/proc/self/net/tcp', 'latin1').split('\n').slice(1)
  const found = rows.flatMap(row => {
    const [, , remote = '', , , , , , , inode = ''] = row.trim().split(/\s+/)
    return Number.parseInt(remote.split(':')[1] ?? '', 16) === port && own.has(inode) ? [inode] : []
  })
  return new Set(found).size
}
