import { messageOf } from '../../../api/errors.ts'
import { connectFailure } from '../../../connecting/connect-failure.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import { replyWithin } from '../client/replies/error-replies.ts'
import { permanentAdvice } from '../client/replies/permanent-errors.ts'
import { type Address, inWords } from '../failover/addresses.ts'
import { NotAsked } from './questions.ts'
import { isOfNatMap } from './view.ts'

/** The pause before a node is asked again that refuses for good, as with a wrong password: no account is to be locked. Milliseconds. */
export const REFUSED_PAUSE = 5000

/** @returns what to do about an error, if asking again would not help */
export function refusalAdvice(error: unknown): string | undefined {
  if (isOfNatMap(error)) return 'Correct the option natMap'
  if (/cluster support disabled/.test(replyWithin(error)?.message ?? ''))
    return 'The server is no node of a cluster: call createRedisPool'
  return connectFailure({ error }, permanentAdvice).advice
}

interface Refusal {
  readonly error: unknown
  readonly until: number
}

/**
 * The nodes that have refused a connection of the pool's own for good. They are not connected to again before a pause,
 * whoever asks how often, and whether or not there is a new link to them meanwhile.
 */
export class Refusals {
  readonly #refusals = new Map<string, Refusal>()

  /** Learns from the outcome of a connect. */
  async watch<R>(address: Address, connect: Promise<R>): Promise<R> {
    try {
      const client = await connect
      this.accepted(address)
      return client
    } catch (error) {
      if (refusalAdvice(error) === undefined) this.accepted(address)
      else this.#refused(address, error)
      throw error
    }
  }

  #refused(address: Address, error: unknown): void {
    const now = systemClock.now()
    // Nobody asks again for a node that has gone.
    for (const [key, { until }] of this.#refusals) if (until <= now) this.#refusals.delete(key)
    this.#refusals.set(inWords(address), { error, until: now + REFUSED_PAUSE })
  }

  /** A connection to this node has been made. */
  accepted(address: Address): void {
    this.#refusals.delete(inWords(address))
  }

  /** @returns the error for a question to a node that is not to be connected to yet */
  of(address: Address): NotAsked | undefined {
    const refusal = this.#refusals.get(inWords(address))
    if (refusal === undefined) return undefined
    const { error, until } = refusal
    if (systemClock.now() < until) return new NotAsked(messageOf(error), { cause: error })
    this.accepted(address)
    return undefined
  }
}
