import { systemClock } from '../../../runtime/time/clock.ts'
import { type Address, isSameAddress } from './addresses.ts'
import { type Answer, type Poll, votesFor } from './sentinels.ts'

/**
 * After a switch, the new primary is kept for this long against sentinels that do not know of a later switch. Sentinels
 * hear of a switch one or two seconds after one another, and one behind a partition keeps naming the old primary.
 * Milliseconds.
 */
const KEPT_MILLIS = 10_000

/**
 * The primary, according to the sentinels' answers so far. An outdated sentinel must not bring back a server that has
 * been replaced. Every failover has a number (epoch), and the answer with the higher epoch is right. A sentinel may
 * have lost its epoch, because its state was lost or reset. Such answers are believed if all sentinels agree, or if a
 * majority agrees and no sentinel has confirmed the known primary for a while.
 */
export class KnownPrimary {
  #address: Address | undefined
  #epoch = Number.NEGATIVE_INFINITY
  #confirmedAt = Number.NEGATIVE_INFINITY

  get address(): Address | undefined {
    return this.#address
  }

  /** Does this answer come from a sentinel that missed a later failover? */
  isOutdated({ address, epoch }: Answer): boolean {
    if (this.#address === undefined || isSameAddress(address, this.#address)) return false
    return epoch === undefined || epoch <= this.#epoch
  }

  /** @returns the new primary, if it replaces another one */
  learn({ answers, asked }: Poll): Address | undefined {
    const best = bestOf(answers)
    if (best === undefined) return undefined
    const known = this.#address
    if (known !== undefined && this.isOutdated(best)) {
      if (answers.some(({ address }) => isSameAddress(address, known))) this.#confirm()
      const votes = votesFor(best, answers)
      const isQuiet = systemClock.now() - this.#confirmedAt > KEPT_MILLIS
      if (votes !== asked && !(votes * 2 > asked && isQuiet)) return undefined
      // The sentinels count their failovers from the beginning again.
      this.#epoch = Number.NEGATIVE_INFINITY
    }
    return this.#set(best.address, best.epoch ?? this.#epoch)
  }

  /**
   * Handles a switch that a sentinel announced. A sentinel that only now learns of an earlier switch announces it too.
   *
   * @returns the new primary, if it is new; undefined if all sentinels should be asked instead
   */
  switched(from: Address, to: Address): Address | undefined {
    this.#address ??= from
    if (!isSameAddress(from, this.#address)) return undefined
    // Later than the known epoch, but earlier than that of the next switch.
    return this.#set(to, this.#epoch + 0.5)
  }

  /**
   * Returns another server than the known primary, among those that no sentinel reports as replaced.
   *
   * @param tried - servers to leave out
   */
  alternative(answers: readonly Answer[], tried: readonly Address[]): Address | undefined {
    const fresh = answers.filter(
      ({ address, epoch = this.#epoch }) =>
        epoch >= this.#epoch && !tried.some(other => isSameAddress(other, address)),
    )
    return bestOf(fresh)?.address
  }

  /** Called when the known primary could not be reached, and a connection to this one, which is a primary, was made. */
  replace(address: Address): Address | undefined {
    return this.#set(address, this.#epoch)
  }

  #set(address: Address, epoch: number): Address | undefined {
    const before = this.#address
    this.#address = address
    this.#epoch = Math.max(this.#epoch, epoch)
    this.#confirm()
    return before === undefined || isSameAddress(before, address) ? undefined : address
  }

  #confirm(): void {
    this.#confirmedAt = systemClock.now()
  }
}

/** The answer with the highest epoch; among equal ones, the address that most sentinels name. */
function bestOf(answers: readonly Answer[]): Answer | undefined {
  const rank = ({ epoch = Number.NEGATIVE_INFINITY }: Answer): number => epoch
  return [...answers].sort((a, b) => rank(b) - rank(a) || votesFor(b, answers) - votesFor(a, answers))[0]
}
