import { withStackLimit } from '../../runtime/stack-limit.ts'
import { HOME } from '../../runtime/stack-trace.ts'

/** A kind of leftover that keeps occurring, for the event that names the call site. */
interface LeftoverSite {
  /** What was left behind: `MULTI`, `CLIENT TRACKING`, `BLPOP without an answer`, … */
  readonly left: string
  /** How many connections it has cost so far. */
  readonly times: number
  /** The stack of one of the commands that left it behind. */
  readonly stack: string
}

interface Kind {
  times: number
  calls: number
  isReported: boolean
}

/** Beyond this many kinds no more are recorded: unknown command names may come from anywhere. */
const MOST_KINDS = 100
/**
 * After this many stacks per kind, only every hundredth one is taken. Most loans are returned clean, and their stacks
 * are not used.
 */
const MOST_STACKS = 100

/**
 * Finds the call sites that leave connections dirty. The first leftover of a kind is only counted. From then on, every
 * command that may leave the same thing has its stack taken, until one of them does so. So a pool without leftovers
 * never takes a stack, and others take few.
 */
export class LeftoverSites {
  readonly #kinds = new Map<string, Kind>()
  #unansweredKinds = 0
  readonly #report: (site: LeftoverSite) => void

  constructor(report: (site: LeftoverSite) => void) {
    this.#report = report
  }

  /**
   * Whether every command has to be recorded, and not only those that change state on the server: a command without an
   * answer has cost a connection, and its call site is not known yet.
   */
  get wantsSenders(): boolean {
    return this.#unansweredKinds > 0
  }

  /**
   * Called when something is being done that may be left behind.
   * @returns the stack, if it is wanted
   */
  stackIfWanted(left: string, within: (...args: never[]) => unknown): string | undefined {
    const kind = this.#kinds.get(left)
    if (kind === undefined || kind.isReported) return undefined
    kind.calls += 1
    return kind.calls <= MOST_STACKS || kind.calls % 100 === 0 ? stackOf(within) : undefined
  }

  /**
   * Records that something was left behind, and the stack of the command that did it.
   * @param isOfSender - any command may leave this kind behind
   */
  record(left: string, stack: string | undefined, isOfSender = false): void {
    let kind = this.#kinds.get(left)
    if (kind === undefined) {
      if (this.#kinds.size >= MOST_KINDS) return
      kind = { times: 0, calls: 0, isReported: false }
      this.#kinds.set(left, kind)
    }
    kind.times += 1
    if (kind.times === 1 && isOfSender) this.#unansweredKinds += 1
    if (kind.isReported || kind.times < 2 || stack === undefined) return
    kind.isReported = true
    if (isOfSender) this.#unansweredKinds -= 1
    this.#report({ left, times: kind.times, stack })
  }
}

const CLIENT_CODE = /[\\/](?:ioredis(?:-\d+)?|iovalkey)[\\/]built[\\/]/

/** The stack of the function's callers, without frames of ioredis and of this package. */
function stackOf(within: (...args: never[]) => unknown): string {
  const holder: { stack?: string } = {}
  withStackLimit(20, () => Error.captureStackTrace(holder, within))
  const lines = (holder.stack ?? '').split('\n').slice(1)
  return lines.filter(line => !CLIENT_CODE.test(line) && !(HOME && line.includes(HOME))).join('\n')
}
