import { messageOf } from '../../../api/errors.ts'
import { backoff } from '../../../runtime/time/backoff.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import type { Command } from '../client/client-types.ts'
import { isSameAddress } from '../failover/addresses.ts'
import type { ClusterLoan } from './loan-guard.ts'
import type { Redirect } from './redirect.ts'
import { pause } from './refresher.ts'
import type { Topology } from './topology.ts'

/** How often a command is sent elsewhere at most, and the pauses after a TRYAGAIN. Milliseconds. */
const MOST_HOPS = 64
const FIRST_PAUSE = 5
const LONGEST_PAUSE = 100

/**
 * Sends a command where it can be carried out, while its slot is being moved. It is sent over the pool's own connection to
 * that node, not over a loan: whoever waits for a loan while holding one could wait for ever.
 *
 *     ASK        to the node named, with ASKING
 *     TRYAGAIN   again to the node of the loan, after a pause: the other keys are on their way
 *     MOVED      to the new owner
 *
 * Never rejects; the command settles.
 */
export async function follow(
  topology: Topology,
  command: Command,
  first: Redirect,
  loan: ClusterLoan,
  patienceMillis: number,
): Promise<void> {
  const until = systemClock.now() + patienceMillis
  let redirect = first
  let tries = 0
  for (let hop = 0; ; hop += 1) {
    const { kind, slot, to } = redirect
    if (kind === 'MOVED' && slot !== undefined && to !== undefined) topology.moved(slot, to)
    if (hop === MOST_HOPS || systemClock.now() > until) {
      command.reject(loan.movedTo(redirect, new Error(`the last answer of ${hop} was ${kind}`)))
      return
    }
    if (kind === 'TRYAGAIN') {
      await pause(backoff(tries, FIRST_PAUSE, LONGEST_PAUSE), true)
      tries += 1
    }
    try {
      const node = to ?? loan.node
      const held = isSameAddress(node, loan.node) ? 1 : 0
      const next = await topology.linkTo(node).send(command, kind === 'ASK', held)
      if (next === undefined) return
      redirect = next
    } catch (error) {
      // Not sent: the node could not be reached.
      command.reject(loan.movedTo(redirect, new Error(messageOf(error), { cause: error })))
      return
    }
  }
}
