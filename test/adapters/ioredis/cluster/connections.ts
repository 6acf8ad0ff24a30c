import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** How many connections this process has to a port, those that are being opened included. */
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
  return rows.filter(row => {
    const [, , remote = '', , , , , , , inode = ''] = row.trim().split(/\s+/)
    return Number.parseInt(remote.split(':')[1] ?? '', 16) === port && own.has(inode)
  }).length
}
