/** What can be wrong with a process. The first five are the outages that this library exists for. */
export type Pattern =
  | 'half-closed'
  | 'unread-pipe'
  | 'blocked-loop'
  | 'pool-used-up'
  | 'pool-stands-still'
  | 'unowned-sockets'
  | 'unread-requests'
  | 'stopped'
  | 'silent-peer'
  | 'descriptors'
  | 'leak'
  | 'deadlock'
  | 'idle-limit'
  | 'unreachable'

/** One thing that is wrong, with the evidence for it. */
export interface Finding {
  readonly pattern: Pattern
  /** What is wrong, in one sentence. */
  readonly title: string
  /** What was observed, with numbers. */
  readonly evidence: readonly string[]
  /** What to do next. */
  readonly next: readonly string[]
  /** Of a process that does nothing else meanwhile: where it is. */
  readonly standsStill?: 'in its code' | 'in the kernel'
}

/** Formats a number of things in words. */
export const count = (many: number, one: string, more = `${one}s`): string =>
  `${many} ${many === 1 ? one : more}`

export const inSeconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

export const percent = (share: number): string => `${Math.round(100 * share)} %`

/** Groups items by a key, the largest group first. */
export function grouped<T>(all: readonly T[], keyOf: (one: T) => string): [key: string, group: T[]][] {
  const groups = new Map<string, T[]>()
  for (const one of all) {
    const key = keyOf(one)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [one])
    else group.push(one)
  }
  return [...groups].sort(([, a], [, b]) => b.length - a.length)
}
