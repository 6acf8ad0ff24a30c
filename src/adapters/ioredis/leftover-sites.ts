import { withStackLimit } from '../../runtime/stack-limit.ts'
import { HOME } from '../../runtime/stack-trace.ts'

/** A kind of leftover that keeps coming, for the event that names where it comes from. */
export interface LeftoverSite {
  /** What was left behind: `MULTI`, `CLIENT TRACKING`, `BLPOP without an answer`, … */
  readonly left: string
  /** How many connections it has cost so far. */
  readonly times: number
  /** Where one of them was soiled. */
  readonly stack: string
}

interface Kind {
  times: number
  looks: number
  told: boolean
}

/** Kinds beyond this many are not told apart: names of unknown commands may come from anywhere. */
const MOST_KINDS = 100
/** So many stacks are taken in vain, of loans that end well; after that only each hundredth. */
const MOST_LOOKS = 100

/**
 * Finds the call sites that soil connections. The first time something is left behind it is only noted; from then on
 * whoever may be about to leave the same thing has his stack taken, until one of them has done so. So a pool in good
 * order never takes a stack, and the others take few.
 */
export class LeftoverSites {
  readonly #kinds = new Map<string, Kind>()
  #unansweredKinds = 0
  readonly #tell: (site: LeftoverSite) => void

  constructor(tell: (site: LeftoverSite) => void) {
    this.#tell = tell
  }

  /**
   * Whether each command is to be suspected, and not only those that leave something on the server: a command without
   * an answer has cost a connection, and who sends such is not known yet.
   */
  get wantsSenders(): boolean {
    return this.#unansweredKinds > 0
  }

  /** Something that may be left behind is being done. @returns the stack, if it is wanted */
  stackIfWanted(left: string, within: (...args: never[]) => unknown): string | undefined {
    const kind = this.#kinds.get(left)
    if (kind === undefined || kind.told) return undefined
    kind.looks += 1
    return kind.looks <= MOST_LOOKS || kind.looks % 100 === 0 ? stackOf(within) : undefined
  }

  /**
   * It has been left behind, by the one whose stack this is.
   * @param isOfSender - any command may be the one that leaves it
   */
  note(left: string, stack: string | undefined, isOfSender = false): void {
    let kind = this.#kinds.get(left)
    if (kind === undefined) {
      if (this.#kinds.size >= MOST_KINDS) return
      kind = { times: 0, looks: 0, told: false }
      this.#kinds.set(left, kind)
    }
    kind.times += 1
    if (kind.times === 1 && isOfSender) this.#unansweredKinds += 1
    if (kind.told || kind.times < 2 || stack === undefined) return
    kind.told = true
    if (isOfSender) this.#unansweredKinds -= 1
    this.#tell({ left, times: kind.times, stack })
  }
}

const IOREDIS = /[\\/]ioredis(?:-\d+)?[\\/]built[\\/]/

/** The callers of a function, but for those in ioredis and in this package. */
function stackOf(within: (...args: never[]) => unknown): string {
  const holder: { stack?: string } = {}
  withStackLimit(20, () => Error.captureStackTrace(holder, within))
  const lines = (holder.stack ?? '').split('\n').slice(1)
  return lines.filter(line => !IOREDIS.test(line) && !(HOME && line.includes(HOME))).join('\n')
}
