import { systemClock } from '../../../runtime/time/clock.ts'
import { type Address, inWords, isSameAddress } from './addresses.ts'
import { type Answer, type Poll, votesFor } from './sentinels.ts'

/**
 * After a switch, the new primary is kept for this long against sentinels that do not know of a later switch. Sentinels
 * hear of a switch one or two seconds after one another, and one behind a partition keeps naming the old primary.
 * Milliseconds.
 */
const KEPT_MILLIS = 10_000

/**
 * If the named primary could not be reached for this long, and never was, a server named by sentinels with lower epochs is
 * tried: the number of one sentinel may come from an earlier life. A real switch is heard of by most of them meanwhile.
 * Milliseconds.
 */
const UNREACHED_MILLIS = 750
/** The number of past servers and wrong answers that are remembered. */
const MOST_REMEMBERED = 20

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
  /** Whether a connection to the known primary has been made, and since when it is the known one. */
  #isReached = false
  #since = Number.NEGATIVE_INFINITY
  /** When each server was replaced, by its address. */
  readonly #replaced = new Map<string, number>()
  /** Answers that were followed in vain. They are ignored unless a majority of the sentinels gives them. */
  readonly #refuted = new Set<string>()
  /** The answer behind the last alternative. */
  #offered: Answer | undefined

  get address(): Address | undefined {
    return this.#address
  }

  /** Does this answer come from a sentinel that missed a later failover? */
  isOutdated(answer: Answer): boolean {
    const { address, epoch } = answer
    if (this.#address === undefined || isSameAddress(address, this.#address)) return false
    return this.#refuted.has(claimOf(answer)) || epoch === undefined || epoch <= this.#epoch
  }

  /** @returns the new primary, if it replaces another one */
  learn({ answers: given, asked }: Poll): Address | undefined {
    for (const answer of given) if (votesFor(answer, given) * 2 > asked) this.#refuted.delete(claimOf(answer))
    const answers = given.filter(answer => !this.#refuted.has(claimOf(answer)))
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

  /** A connection to this server, which is a primary, has been made. */
  reached(address: Address): void {
    if (this.#address !== undefined && isSameAddress(address, this.#address)) this.#isReached = true
  }

  /**
   * Handles a switch that a sentinel announced. A sentinel that only now learns of an earlier switch announces it too; and
   * for a switch back to a server that has just been replaced, the word of one is not enough.
   *
   * @returns the new primary, if it is new; undefined if all sentinels should be asked instead
   */
  switched(from: Address, to: Address): Address | undefined {
    this.#address ??= from
    if (!isSameAddress(from, this.#address) || this.#wasReplaced(to)) return undefined
    // Later than the known epoch, but earlier than that of the next switch.
    return this.#set(to, this.#epoch + 0.5)
  }

  /**
   * Returns another server than the known primary, among those that no sentinel reports as replaced. While the known one
   * has never been reached, sentinels with lower epochs are listened to as well.
   *
   * @param tried - servers to leave out
   */
  alternative(answers: readonly Answer[], tried: readonly Address[]): Address | undefined {
    const others = answers.filter(({ address }) => !tried.some(other => isSameAddress(other, address)))
    const isFresh = ({ epoch = this.#epoch }: Answer): boolean => epoch >= this.#epoch
    const isInVain = !this.#isReached && systemClock.now() - this.#since >= UNREACHED_MILLIS
    this.#offered = bestOf(
      others.filter(answer => isFresh(answer) || (isInVain && !this.#wasReplaced(answer.address))),
    )
    return this.#offered?.address
  }

  /** Called when the known primary could not be reached, and a connection to this one, which is a primary, was made. */
  replace(address: Address): Address | undefined {
    const known = this.#address
    const { address: offered, epoch = this.#epoch } = this.#offered ?? { address }
    if (known !== undefined && isSameAddress(offered, address) && epoch < this.#epoch) {
      if (this.#refuted.size >= MOST_REMEMBERED) this.#refuted.clear()
      this.#refuted.add(claimOf({ address: known, epoch: this.#epoch }))
      this.#epoch = epoch
    }
    const replaced = this.#set(address, this.#epoch)
    this.#isReached = true
    return replaced
  }

  #wasReplaced(address: Address): boolean {
    return (
      systemClock.now() - (this.#replaced.get(inWords(address)) ?? Number.NEGATIVE_INFINITY) < KEPT_MILLIS
    )
  }

  #set(address: Address, epoch: number): Address | undefined {
    const before = this.#address
    this.#address = address
    this.#epoch = Math.max(this.#epoch, epoch)
    this.#confirm()
    if (before !== undefined && isSameAddress(before, address)) return undefined
    if (before !== undefined && this.#isReached) {
      if (this.#replaced.size >= MOST_REMEMBERED) this.#replaced.clear()
      this.#replaced.set(inWords(before), this.#confirmedAt)
    }
    this.#replaced.delete(inWords(address))
    this.#isReached = false
    this.#since = this.#confirmedAt
    return before === undefined ? undefined : address
  }

  #confirm(): void {
    this.#confirmedAt = systemClock.now()
  }
}

/** What a sentinel says, to be recognised. */
const claimOf = ({ address, epoch }: Answer): string => `${inWords(address)} ${epoch}`

/** The answer with the highest epoch; among equal ones, the address that most sentinels name. */
function bestOf(answers: readonly Answer[]): Answer | undefined {
  const rank = ({ epoch = Number.NEGATIVE_INFINITY }: Answer): number => epoch
  return [...answers].sort((a, b) => rank(b) - rank(a) || votesFor(b, answers) - votesFor(a, answers))[0]
}
