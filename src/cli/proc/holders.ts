import { flagsIn } from '../../runtime/log/output.ts'
import type { ProcFiles } from './proc-files.ts'

/** A process that has something open. */
export interface Holder {
  readonly pid: number
  readonly fd: number
  /** How it was opened; undefined where that cannot be read. */
  readonly mode: 'read' | 'write' | 'both' | undefined
}

/** Finds all visible processes that have one of these things open, by the text of the link: `pipe:[1]` or a path. */
export function holdersOf(proc: ProcFiles, links: ReadonlySet<string>): Map<string, Holder[]> {
  const found = new Map<string, Holder[]>()
  if (links.size === 0) return found
  for (const name of proc.names('.')) {
    if (!/^\d+$/.test(name)) continue
    for (const fd of proc.names(`${name}/fd`)) {
      const link = proc.link(`${name}/fd/${fd}`)
      if (!links.has(link)) continue
      const holder: Holder = { pid: Number(name), fd: Number(fd), mode: modeOf(proc, name, fd) }
      found.set(link, [...(found.get(link) ?? []), holder])
    }
  }
  return found
}

/** The holders that could read it. */
export const readersOf = (holders: readonly Holder[]): Holder[] =>
  holders.filter(({ mode }) => mode !== 'write')

/** Flags of an open file description, as /proc shows them. */
export function flagsOf(proc: ProcFiles, pid: number | string, fd: number | string): number | undefined {
  return flagsIn(proc.text(`${pid}/fdinfo/${fd}`))
}

/** Linux: the flags for the access mode, and the flag for non-blocking. */
const O_ACCMODE = 3
export const O_NONBLOCK = 0o4000

function modeOf(proc: ProcFiles, pid: string, fd: string): Holder['mode'] {
  const flags = flagsOf(proc, pid, fd)
  return flags === undefined ? undefined : (['read', 'write', 'both'] as const)[flags & O_ACCMODE]
}
