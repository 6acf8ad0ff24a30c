import { CannotLook } from '../cannot-look.ts'
import { runsNode } from './node-binary.ts'
import type { ProcFiles } from './proc-files.ts'

/** What stays the same while a process is observed. */
export interface Target {
  readonly pid: number
  readonly name: string
  readonly command: string
  readonly user: number | undefined
  readonly isNode: boolean
  /** Does it catch SIGUSR1? Any other process would be ended by it. */
  readonly catchesSignal: boolean
  /** When it started, as /proc has it: a process with the same number may be another one later. */
  readonly born: string
  /** Its number in its own namespace of processes, which it knows itself by. */
  readonly innerPid: number
  /** The most descriptors it may have; undefined if there is no limit, or it cannot be read. */
  readonly mostDescriptors: number | undefined
  readonly children: readonly number[]
}

const SIGUSR1 = 10n

/**
 * @returns undefined if there is no such process
 * @throws CannotLook if there is something else with this number
 */
export function targetOf(proc: ProcFiles, pid: number): Target | undefined {
  const status = proc.text(`${pid}/status`)
  if (status === '') return undefined
  const field = (name: string): string | undefined => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]
  const name = field('Name') ?? '?'
  const leader = Number(field('Tgid') ?? pid)
  if (leader !== pid) throw new CannotLook(`${pid} is a thread of the process ${leader}: look at that one`)
  const isKernel = field('VmSize') === undefined && !/^[ZX]/.test(field('State') ?? '')
  if (isKernel)
    throw new CannotLook(`${pid} (${name}) is a thread of the kernel: it has no sockets and no pools`)
  const caught = BigInt(`0x${field('SigCgt') ?? '0'}`)
  const limit = /^Max open files\s+(\d+)/m.exec(proc.text(`${pid}/limits`))?.[1]
  const user = field('Uid')?.split('\t')[0]
  return {
    pid,
    name,
    command: proc.text(`${pid}/cmdline`).split('\0').join(' ').trim(),
    user: user === undefined ? undefined : Number(user),
    isNode: runsNode(proc, pid),
    catchesSignal: ((caught >> (SIGUSR1 - 1n)) & 1n) === 1n,
    born: bornAt(proc, pid),
    innerPid: Number(field('NSpid')?.split('\t').at(-1) ?? pid),
    mostDescriptors: limit === undefined ? undefined : Number(limit),
    children: proc.text(`${pid}/task/${pid}/children`).trim().split(' ').filter(Boolean).map(Number),
  }
}

/** When a process started; empty if there is none, or if it has ended and nobody has taken note of that. */
export function bornAt(proc: ProcFiles, pid: number): string {
  const stat = proc.text(`${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return /^[ZX]/.test(fields[0] ?? '') ? '' : (fields[19] ?? '')
}

/** Describes a process in a few words. */
export function nameOf(proc: ProcFiles, pid: number): string {
  const name = proc.text(`${pid}/comm`).trim()
  const state = /^State:\s*(\S)/m.exec(proc.text(`${pid}/status`))?.[1]
  return `${name || '?'} (pid ${pid}${state === 'T' ? ', stopped' : state === 'Z' ? ', ended' : ''})`
}
