import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/** Does the process run? */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // A process that has ended but whose parent has not taken note yet still counts for kill().
    const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : ''
    return !/\) Z /.test(stat)
  } catch {
    return false
  }
}

/** Waits for what another process does in its own time. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 30_000
  for (;;) {
    const used = process.cpuUsage()
    if (condition()) return
    assert.ok(performance.now() < deadline, `not within 30 s: ${what}`)
    const { user, system } = process.cpuUsage(used)
    // A look that costs much is taken less often: what is waited for needs the processor, too.
    await delay(Math.max(5, (4 * (user + system)) / 1000))
  }
}
