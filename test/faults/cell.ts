/* One cell of the matrix: a fault at a moment. What is started settles in time, and afterwards the pool is as new. */

import { setTimeout as delay } from 'node:timers/promises'
import { countSockets } from '../support/fds.ts'
import type { Fault } from './faults.ts'
import type { Phase, Started } from './phases.ts'
import { FaultWorld, type Transport } from './world.ts'

/** Longest time for anything that a phase starts: acquire, command, release, with ample room for a busy machine. */
const SETTLE_MILLIS = 12_000
/** How long a fault lasts. */
const LASTS_MILLIS = 250
/** Within this time after the fault all connections can be lent again. */
const RECOVER_MILLIS = 15_000

export interface Outcome {
  readonly fault: string
  readonly phase: string
  readonly transport: Transport
  readonly skipped?: string
  /** What went wrong: nothing, if all is well. */
  readonly wrong: string[]
  /** What callers were told. */
  readonly errors: string[]
}

interface Settled {
  readonly isSettled: boolean
  readonly error?: unknown
}

async function settle({ promise }: Started, millis: number): Promise<Settled> {
  const timer = new AbortController()
  const late = delay(millis, { isSettled: false }, { signal: timer.signal }).catch(() => ({
    isSettled: false,
  }))
  const settled = promise.then(
    () => ({ isSettled: true }),
    (error: unknown) => ({ isSettled: true, error }),
  )
  const first = await Promise.race([settled, late])
  timer.abort()
  return first
}

/** An error with its causes, in one line. */
export function told(error: unknown): string {
  const parts: string[] = []
  for (let each = error; each instanceof Error && parts.length < 4; each = each.cause) {
    const { code } = each as { code?: string }
    parts.push(`${code === undefined ? '' : `${code}: `}${each.message.split('\n')[0]}`)
  }
  return parts.join(' <- ')
}

export async function runCell(fault: Fault, phase: Phase, transport: Transport): Promise<Outcome> {
  const cell = {
    fault: fault.name,
    phase: phase.name,
    transport,
    wrong: [] as string[],
    errors: [] as string[],
  }
  const isApart = fault.inNetwork || fault.onlyTcp
  if (isApart && transport === 'unix') return { ...cell, skipped: 'there is no network' }
  if (fault.inNetwork && transport !== 'plain') return { ...cell, skipped: 'plain TCP stands for it' }
  const world = await FaultWorld.open(transport, fault.inNetwork === true)
  if (typeof world === 'string') return { ...cell, skipped: world }
  try {
    let hasStruck = false
    const strike = async (): Promise<void> => {
      if (hasStruck) return
      hasStruck = true
      await fault.strike(world)
    }
    const started = await phase.run(world, strike)
    for (const { promise } of started) promise.catch(() => {})
    await delay(LASTS_MILLIS)
    const outcomes = Promise.all(started.map(each => settle(each, SETTLE_MILLIS)))
    if (!hasStruck) await strike()
    await fault.lift?.(world)
    ;(await outcomes).forEach(({ isSettled, error }, index) => {
      const what = started[index]?.what
      if (!isSettled) cell.wrong.push(`hung: ${what} after ${SETTLE_MILLIS} ms`)
      if (error === undefined) return
      const text = told(error)
      cell.errors.push(`${what}: ${text}`)
      if (!fault.says.test(text) && !isOfPhase(phase, text)) cell.wrong.push(`false error: ${text}`)
    })
    if (!phase.closes) await lendAll(world, cell.wrong)
    await close(world, cell.wrong)
  } finally {
    await world.stop()
  }
  return cell
}

/** While the pool drains or closes, new work is refused, and says so. */
const isOfPhase = ({ closes }: Phase, text: string): boolean =>
  closes === true && /POOL_(?:CLOSED|DRAIN_TIMEOUT|LEASE_ENDED)/.test(text)

/** All connections that the pool may have are lent at once, and each of them answers. */
async function lendAll({ pool }: FaultWorld, wrong: string[]): Promise<void> {
  // Who is silent leaves no trace: a connection is asked before a loan once it has been idle for a while.
  await delay(100)
  const until = performance.now() + RECOVER_MILLIS
  for (;;) {
    const asked = await Promise.allSettled([1, 2, 3].map(() => pool.lease()))
    const leases = asked.flatMap(each => (each.status === 'fulfilled' ? [each.value] : []))
    for (const { resource } of leases)
      await resource.set('after', '1').catch(error => wrong.push(`dead lent: ${told(error)}`))
    await Promise.all(leases.map(lease => lease.release().catch(() => {})))
    const refused = asked.find(each => each.status === 'rejected')
    if (refused === undefined) return
    if (performance.now() > until) {
      wrong.push(`not recovered: ${told(refused.reason)}`)
      return
    }
    await delay(50)
  }
}

async function close(world: FaultWorld, wrong: string[]): Promise<void> {
  const { pool, proxy } = world
  await pool.close().catch(() => {})
  const isClean = (): boolean => world.opened === 0 && (proxy?.connections ?? 0) === 0
  for (let tries = 0; !isClean() && tries < 100; tries += 1) await delay(20)
  if (world.opened !== 0) wrong.push(`leaked: ${world.opened} connections are not ended`)
  if ((proxy?.connections ?? 0) !== 0) wrong.push(`leaked: ${proxy?.connections} sockets are open`)
  const { connecting, size } = pool.stats() as unknown as { connecting: number; size: number }
  if (connecting > 0 || size > 0) wrong.push(`leaked: ${size} slots`)
}

/** How many descriptors this process has; -1 where it cannot be said. */
export const descriptors = (): number => countSockets()?.sockets ?? -1
