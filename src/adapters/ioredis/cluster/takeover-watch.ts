import { systemClock, type Timer } from '../../../runtime/time/clock.ts'
import { type Address, inWords } from '../failover/addresses.ts'

/**
 * The pause between two looks: this share of the time that has passed, within these bounds. So a takeover is seen after one
 * per cent more than the time that it took, and where it takes long, the questions are few. Milliseconds.
 */
const SHARE = 1 / 100
const SHORTEST_PAUSE = 10
const LONGEST_PAUSE = 250
/** A primary of which nothing bad has been heard for so long is not watched any more. Milliseconds. */
const FORGET_MILLIS = 5000

export interface TakeoverHost {
  /** The replicas of a primary; undefined if it is none any more. */
  replicasOf(primary: Address): readonly Address[] | undefined
  /** Asks a node. May reject. */
  isPrimary(node: Address): Promise<boolean>
  /** A replica says that it is a primary now. Called again until the other has lost its slots, by what is known. */
  onTakeover(node: Address, lost: Address): Promise<void>
}

interface Lost {
  readonly address: Address
  readonly since: number
  heardAt: number
  timer: Timer | undefined
}

/**
 * Asks the replicas of a primary that cannot be reached whether one of them has taken over. The question is a small one
 * (ROLE) and may be asked often; the topology is asked for only when the answer is yes.
 */
export class TakeoverWatch {
  readonly #host: TakeoverHost
  readonly #lost = new Map<string, Lost>()
  /** Replicas that have not answered yet. */
  readonly #asked = new Set<string>()

  constructor(host: TakeoverHost) {
    this.#host = host
  }

  /** The primaries that cannot be reached. */
  get lostOnes(): Address[] {
    return [...this.#lost.values()].map(({ address }) => address)
  }

  isLost(address: Address): boolean {
    return this.#lost.has(inWords(address))
  }

  /** A node could not be reached, or is silent. */
  lost(address: Address): void {
    if (this.#host.replicasOf(address) === undefined) return
    const key = inWords(address)
    const now = systemClock.now()
    const known = this.#lost.get(key)
    if (known !== undefined) {
      known.heardAt = now
      return
    }
    const lost: Lost = { address, since: now, heardAt: now, timer: undefined }
    this.#lost.set(key, lost)
    this.#look(lost)
  }

  /** The node has answered. */
  found(address: Address): void {
    const key = inWords(address)
    this.#lost.get(key)?.timer?.cancel()
    this.#lost.delete(key)
  }

  #look(lost: Lost): void {
    const replicas = this.#host.replicasOf(lost.address)
    const now = systemClock.now()
    if (replicas === undefined || now - lost.heardAt > FORGET_MILLIS) {
      this.found(lost.address)
      return
    }
    const pause = Math.min(Math.max((now - lost.since) * SHARE, SHORTEST_PAUSE), LONGEST_PAUSE)
    lost.timer = systemClock.after(pause, () => this.#look(lost))
    for (const replica of replicas) void this.#ask(replica, lost)
  }

  async #ask(replica: Address, lost: Lost): Promise<void> {
    const key = inWords(replica)
    if (this.#asked.has(key)) return
    this.#asked.add(key)
    try {
      const isPrimary = await this.#host.isPrimary(replica)
      if (isPrimary && this.#lost.get(inWords(lost.address)) === lost)
        await this.#host.onTakeover(replica, lost.address)
    } catch {
      // It is asked again.
    } finally {
      this.#asked.delete(key)
    }
  }
}
