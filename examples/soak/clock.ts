/**
 * Milliseconds on the monotonic clock. Unlike `performance.now()`, whose zero each thread has for itself, it can be
 * compared between the service and the thread that kills its connections.
 */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** A random number of milliseconds, or of anything else. */
export function between(least: number, most: number): number {
  return least + Math.random() * (most - least)
}
