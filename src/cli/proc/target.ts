import type { ProcFiles } from './proc-files.ts'

/** What stays the same while a process is observed. */
export interface Target {
  readonly pid: number
  readonly name: string
  readonly command: string
  readonly user: number | undefined
  /** A Node process in which SIGUSR1 still starts the inspector. */
  readonly takesInspector: boolean
  readonly isNode: boolean
  /** The most descriptors it may have; undefined if there is no limit, or it cannot be read. */
  readonly mostDescriptors: number | undefined
  readonly children: readonly number[]
}

const SIGUSR1 = 10n

/** @returns undefined if there is no such process */
export function targetOf(proc: ProcFiles, pid: number): Target | undefined {
  const status = proc.text(`${pid}/status`)
  if (status === '') return undefined
  const command = proc.text(`${pid}/cmdline`).split('\0').join(' ').trim()
  const caught = BigInt(`0x${/^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
  const isNode = /(?:^|\/)node[^/]*$/.test(proc.link(`${pid}/exe`).replace(/ \(deleted\)$/, ''))
  const limit = /^Max open files\s+(\d+)/m.exec(proc.text(`${pid}/limits`))?.[1]
  const user = /^Uid:\s*(\d+)/m.exec(status)?.[1]
  return {
    pid,
    name: /^Name:\s*(.*)$/m.exec(status)?.[1] ?? '?',
    command,
    user: user === undefined ? undefined : Number(user),
    isNode,
    takesInspector: isNode && ((caught >> (SIGUSR1 - 1n)) & 1n) === 1n,
    mostDescriptors: limit === undefined ? undefined : Number(limit),
    children: proc.text(`${pid}/task/${pid}/children`).trim().split(' ').filter(Boolean).map(Number),
  }
}

/** Describes a process in a few words. */
export function nameOf(proc: ProcFiles, pid: number): string {
  const name = proc.text(`${pid}/comm`).trim()
  const state = /^State:\s*(\S)/m.exec(proc.text(`${pid}/status`))?.[1]
  return `${name || '?'} (pid ${pid}${state === 'T' ? ', stopped' : state === 'Z' ? ', ended' : ''})`
}
