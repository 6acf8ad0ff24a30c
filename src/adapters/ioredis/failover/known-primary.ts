import { systemClock } from '../../../runtime/time/clock.ts'
import { type Address, isSameAddress } from './addresses.ts'
import { type Answer, type Poll, votesFor } from './sentinels.ts'

/**
 * So long the primary of a switch is kept to, whatever sentinels say that know of no later one: they hear of a switch a
 * second or two after one another, and one behind a partition goes on naming the old one. Milliseconds.
 */
const KEPT_MILLIS = 10_000

/**
 * The primary, as far as the sentinels have been heard. One that is behind must not bring back a server that has been
 * replaced: each failover has a number, and whoever knows of a later one is right. A sentinel that has forgotten its
 * number (its state was lost, or reset) is believed if all of them say the same; or most of them, and none has confirmed the
 * other for a while.
 */
export class KnownPrimary {
  #address: Address | undefined
  #epoch = Number.NEGATIVE_INFINITY
  #confirmedAt = Number.NEGATIVE_INFINITY

  get address(): Address | undefined {
    return this.#address
  }

  /** Is the sentinel that says so behind? */
  isOutdated({ address, epoch }: Answer): boolean {
    if (this.#address === undefined || isSameAddress(address, this.#address)) return false
    return epoch === undefined || epoch <= this.#epoch
  }

  /** @returns the new primary, if there was another before */
  learn({ answers, asked }: Poll): Address | undefined {
    const best = bestOf(answers)
    if (best === undefined) return undefined
    const known = this.#address
    if (known !== undefined && this.isOutdated(best)) {
      if (answers.some(({ address }) => isSameAddress(address, known))) this.#confirm()
      const votes = votesFor(best, answers)
      const isQuiet = systemClock.now() - this.#confirmedAt > KEPT_MILLIS
      if (votes !== asked && !(votes * 2 > asked && isQuiet)) return undefined
      // They count anew.
      this.#epoch = Number.NEGATIVE_INFINITY
    }
    return this.#set(best.address, best.epoch ?? this.#epoch)
  }

  /**
   * A sentinel has told of a switch as it happened. One that only now learns of an earlier switch does so as well.
   *
   * @returns the new primary, if it is new; undefined where all of them should rather be asked
   */
  switched(from: Address, to: Address): Address | undefined {
    this.#address ??= from
    if (!isSameAddress(from, this.#address)) return undefined
    // At least the next number, but less than that of the switch after it.
    return this.#set(to, this.#epoch + 0.5)
  }

  /**
   * Another server than the known one, of those that no sentinel has heard to be replaced.
   *
   * @param tried - servers that are not meant
   */
  alternative(answers: readonly Answer[], tried: readonly Address[]): Address | undefined {
    const fresh = answers.filter(
      ({ address, epoch = this.#epoch }) =>
        epoch >= this.#epoch && !tried.some(other => isSameAddress(other, address)),
    )
    return bestOf(fresh)?.address
  }

  /** The known one could not be reached, and a connection to this one, which is a primary, has been made. */
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

/** The answer of whoever knows of the latest failover; of several alike, what most of them say. */
function bestOf(answers: readonly Answer[]): Answer | undefined {
  const rank = ({ epoch = Number.NEGATIVE_INFINITY }: Answer): number => epoch
  return [...answers].sort((a, b) => rank(b) - rank(a) || votesFor(b, answers) - votesFor(a, answers))[0]
}
