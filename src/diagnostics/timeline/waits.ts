import { Ring } from './ring.ts'
import type { TimelineWait } from './timeline.ts'

/** An acquire that waits. */
interface Begun {
  readonly pool: number
  readonly from: number
  readonly site: string | undefined
  /** How long it had waited when the recording began. */
  readonly beforeMillis: number | undefined
}

/** How an acquire ended. */
interface End {
  readonly waitedMillis: number
  readonly connection?: number | undefined
  /** The code of its error. */
  readonly error?: string | undefined
}

/** The acquires that wait, and those that have waited. */
export class Waits {
  readonly #most: number
  readonly #ended: Ring<TimelineWait>
  /** By what stands for the acquire: its message, or its observer. */
  readonly #open = new Map<object, Begun>()
  /** That began while too many waited. */
  #unseen = 0

  constructor(most: number) {
    this.#most = most
    this.#ended = new Ring(most)
  }

  get dropped(): number {
    return this.#ended.dropped + this.#unseen
  }

  get lastDropped(): TimelineWait | undefined {
    return this.#ended.lastDropped
  }

  /** @returns whether there is room for it */
  begin(key: object, begun: () => Begun): boolean {
    if (this.#open.size >= this.#most) {
      this.#unseen += 1
      return false
    }
    this.#open.set(key, begun())
    return true
  }

  /** @returns the site of the acquire, where it is known */
  end(key: object, pool: number, at: number, { waitedMillis, connection, error }: End): string | undefined {
    const begun = this.#open.get(key)
    this.#open.delete(key)
    if (waitedMillis > 0 || error !== undefined)
      this.#ended.add({
        ...shown(
          begun ?? { pool, from: Math.max(at - waitedMillis, 0), site: undefined, beforeMillis: undefined },
        ),
        to: at,
        ...(connection === undefined ? {} : { connection }),
        ...(error === undefined ? {} : { error }),
      })
    return begun?.site
  }

  /** All of them, those that wait as if they ended now. */
  all(millis: number): TimelineWait[] {
    const open = [...this.#open.values()].map(
      (begun): TimelineWait => ({ ...shown(begun), to: millis, isOpen: true }),
    )
    return [...this.#ended.all(), ...open]
  }
}

const shown = ({ pool, from, site, beforeMillis }: Begun): Omit<TimelineWait, 'to'> => ({
  ...{ pool, from },
  ...(site === undefined ? {} : { site }),
  ...(beforeMillis === undefined ? {} : { beforeMillis }),
})
