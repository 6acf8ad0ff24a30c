import type { Sample, ThreadSample } from './sample.ts'
import { descriptorOfCall } from './system-calls.ts'

/*
 * Where the main thread of a process is. In Node, `execSync` and `spawnSync` wait in an epoll of their own, made for the
 * call: that looks like an event loop at rest, and is none.
 */

/** Does the main thread wait in a loop of its own, while nobody waits in the event loop that is older? */
export function isInOtherLoop({ threads: [main, ...others], epolls }: Sample): boolean {
  const own = epollOf(main)
  if (own === undefined) return false
  const attended = new Set(others.map(epollOf))
  return [...epolls].some(([fd, watched]) => fd < own && watched.size > 0 && !attended.has(fd))
}

/** Does the main thread wait for events, as an event loop does that has nothing to do? */
export const isAtRest = (sample: Sample, isNode: boolean): boolean =>
  sample.threads[0]?.call?.kind === 'wait' && !(isNode && isInOtherLoop(sample))

/** Does it sleep somewhere where no event reaches it? */
export const isStuck = (sample: Sample, isNode: boolean): boolean => {
  const [main] = sample.threads
  if (main === undefined || main.state === 'R') return false
  if (main.state === 'T' || main.state === 't') return true
  return main.call !== undefined && !isAtRest(sample, isNode)
}

const epollOf = (thread: ThreadSample | undefined): number | undefined =>
  thread?.call?.name.startsWith('epoll') ? descriptorOfCall(thread.call) : undefined
