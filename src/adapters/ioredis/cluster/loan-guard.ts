import { isPoolError, type MovedSlot, PoolError } from '../../../api/errors.ts'
import type { Command } from '../client/client-types.ts'
import { replyWithin } from '../client/replies/error-replies.ts'
import { type Address, inWords } from '../failover/addresses.ts'
import { isPlain } from '../handle/command-effects.ts'
import type { LoanGuard } from '../handle/loan.ts'
import { onAnswer } from '../handle/session-state.ts'
import { inQuotes, type Key, keySlot, keysOf, mayBlock, mayWrite } from './keys.ts'
import { isUndone, type Redirect, redirectOf } from './redirect.ts'
import type { Translate } from './view.ts'

/** What a loan tells its cluster. */
export interface GuardHost {
  readonly name: string
  readonly translate: Translate
  /** A node has answered CLUSTERDOWN: it, or the cluster, may be cut off. */
  down(): void
  /** A node has answered MOVED. */
  moved(slot: number, to: Address): void
  /** Sends a single command that was answered with ASK or TRYAGAIN where it can be carried out. */
  follow(command: Command, redirect: Redirect, loan: ClusterLoan): void
}

/** What a loan is for. */
export interface Slotted {
  /** `undefined`: for a node, and so for all of its slots. */
  readonly slot: number | undefined
  readonly key: Key | undefined
  readonly role: 'primary' | 'replica'
}

/**
 * Watches over the commands of one loan: none may go to another slot, and it is known whether anything was written.
 * Answers that send the command elsewhere end here.
 */
export class ClusterLoan implements LoanGuard {
  readonly node: Address
  /** Single commands that are being sent elsewhere, one after the other. */
  following: Promise<void> = Promise.resolve()
  /** Set once the node has answered that it does not serve a slot of this loan any more. */
  moved: PoolError | undefined
  readonly #host: GuardHost
  readonly #for: Slotted
  readonly #isRepeated: boolean
  #isInMulti = false
  #isWatching = false
  /** Why a command of the open transaction was refused: then it must not be executed without that command. */
  #refusedWithin: PoolError | undefined
  /** Commands that were sent while a transaction was open or keys were watched. */
  #within: WeakSet<Command> | undefined
  /** Writing commands without an answer, those queued in a transaction, and whether one has been carried out. */
  #unanswered = 0
  #queued = 0
  #hasWritten = false

  /** @param isRepeated - the function of the loan runs again if its slot has moved and nothing was written */
  constructor(host: GuardHost, node: Address, slotted: Slotted, isRepeated: boolean) {
    this.#host = host
    this.node = node
    this.#for = slotted
    this.#isRepeated = isRepeated
  }

  /** May a command of this loan have written anything? */
  get mayHaveWritten(): boolean {
    return this.#hasWritten || this.#unanswered > 0
  }

  refusal(command: Command): PoolError | undefined {
    const refusal = this.#reasonAgainst(command)
    if (refusal !== undefined && this.#isInMulti) this.#refusedWithin ??= refusal
    return refusal
  }

  #reasonAgainst(command: Command): PoolError | undefined {
    const name = command.name.toLowerCase()
    if (name === 'exec' && this.#refusedWithin !== undefined) {
      const cause = this.#refusedWithin
      return this.#notSent(
        `EXECABORT EXEC was not sent, as a command of this transaction was refused: ${cause.message}`,
        { cause },
      )
    }
    let { slot, key: first } = this.#for
    for (const key of keysOf(command)) {
      if (key === this.#for.key && this.moved === undefined) continue
      const own = keySlot(key)
      if (slot === undefined) [slot, first] = [own, key]
      if (own !== slot) return this.#crossSlot(name, key, own, slot, first)
      if (this.moved?.moved?.slot === own) return this.#movedError(this.moved.moved, this.moved.cause)
    }
    return undefined
  }

  #notSent(message: string, details: { cause?: unknown } = {}): PoolError {
    return new PoolError('POOL_COMMAND_REFUSED', message, { pool: this.#host.name, ...details })
  }

  #crossSlot(name: string, key: Key, own: number, slot: number, first: Key | undefined): PoolError {
    const loan = `the loan on ${inWords(this.node)}, of pool '${this.#host.name}',`
    const other = first === undefined ? '' : ` (key ${inQuotes(first)})`
    const home =
      this.#for.slot === undefined
        ? `${loan} is for one slot in each command: its first key ${inQuotes(first ?? '')} is in slot ${slot}`
        : `${loan} is for slot ${slot}${other}`
    return this.#notSent(
      `CROSSSLOT ${name.toUpperCase()} was not sent: key ${inQuotes(key)} is in slot ${own}, and ${home}. Keys with the same ` +
        '{hash tag} share a slot; keys of different slots need a loan each',
    )
  }

  sent(command: Command): void {
    const name = command.name.toLowerCase()
    if (name === 'multi') this.#isInMulti = true
    else if (name === 'watch') this.#isWatching = true
    if (this.#isInMulti || this.#isWatching) {
      this.#within ??= new WeakSet()
      this.#within.add(command)
    }
    if (name === 'exec') onAnswer(command, answer => this.#executed(answer))
    else if (mayWrite(command)) {
      this.#unanswered += 1
      onAnswer(command, answer => this.#written(answer))
    }
    if (name === 'exec' || name === 'discard') {
      this.#isInMulti = false
      this.#isWatching = false
      this.#refusedWithin = undefined
    } else if (name === 'unwatch') this.#isWatching = this.#isInMulti && this.#isWatching
  }

  #written(reply: unknown): void {
    this.#unanswered -= 1
    if (wasUndone(reply)) return
    if (this.#within !== undefined && String(reply) === 'QUEUED') this.#queued += 1
    else this.#hasWritten = true
  }

  #executed(reply: unknown): void {
    if (this.#queued > 0 && reply !== null && !wasUndone(reply)) this.#hasWritten = true
    this.#queued = 0
  }

  answered(error: Error, command: Command): boolean {
    const redirect = redirectOf(error.message, this.node.host, this.#host.translate)
    if (redirect === undefined) {
      if (error.message.startsWith('CLUSTERDOWN')) this.#host.down()
      return false
    }
    const { kind, slot = this.#for.slot, to } = redirect
    if (kind !== 'MOVED' && this.#maySendElsewhere(command)) {
      this.#host.follow(command, redirect, this)
      return true
    }
    if (kind === 'MOVED' && slot !== undefined && to !== undefined) this.#host.moved(slot, to)
    command.reject(this.movedTo(redirect, error))
    return true
  }

  /** The error that ends this loan. */
  movedTo({ kind, slot = this.#for.slot, to }: Redirect, cause: unknown): PoolError {
    const moved: MovedSlot = {
      slot: slot ?? -1,
      from: inWords(this.node),
      to: to && inWords(to),
      isFinal: kind === 'MOVED',
    }
    const error = this.#movedError(moved, cause)
    this.moved ??= error
    return error
  }

  /** Not one that belongs to a transaction, blocks its connection, or leaves something behind on it. */
  #maySendElsewhere(command: Command): boolean {
    return !this.#within?.has(command) && isPlain(command.name.toLowerCase()) && !mayBlock(command)
  }

  /** @returns the error with which a function must be rejected that failed with this error */
  endedBy(error: unknown): PoolError | undefined {
    if (this.moved === undefined || !isBecauseOf(error)) return undefined
    return isPoolError(error, 'POOL_MOVED') ? error : this.#movedError(this.moved.moved as MovedSlot, error)
  }

  /** @returns the error for a function that does not run again, with the reason in place of the advice */
  givenUp({ moved, cause }: PoolError, why: string): PoolError {
    return this.#movedError(moved as MovedSlot, cause, why)
  }

  #movedError(
    moved: MovedSlot,
    cause: unknown,
    advice = this.#isRepeated ? REPEATED : moved.isFinal ? NOT_REPEATED : ON_ITS_WAY,
  ): PoolError {
    return new PoolError('POOL_MOVED', `pool '${this.#host.name}': ${this.#inWords(moved, advice)}`, {
      pool: this.#host.name,
      moved,
      cause,
    })
  }

  #inWords({ slot, from, to = 'another node', isFinal }: MovedSlot, advice: string): string {
    const { key, role } = this.#for
    const what = `slot ${slot}${key === undefined ? '' : ` (key ${inQuotes(key)})`}`
    const undone = 'The command was not carried out'
    const there = `${what} is ${isFinal ? 'served by' : 'being moved to'} ${to}`
    if (this.#for.slot === undefined)
      return `${there}; this loan is of ${from}. ${undone}. Take a loan of the key: { key }`
    if (role === 'replica')
      return (
        `${there}, to which ${from} sends the command: a replica only reads. ${undone}. To write, take a loan of the primary. ` +
        'If the slot has moved, a new loan leads to a replica of its new owner'
      )
    return `${what} ${isFinal ? 'has moved' : 'is being moved'} from ${from} to ${to}. ${undone}. ${advice}`
  }
}

const NOT_REPEATED =
  'End the loan and take a new one, which leads to the new owner; use(…, { retryMoved: true }) does so by itself if nothing ' +
  'was written'
const ON_ITS_WAY =
  'Until it has moved, a new loan leads to the same node: end the loan, and try again later; use(…, { retryMoved: true }) does ' +
  'so by itself if nothing was written'
/** What a function sees that may run again. */
const REPEATED = 'The function runs again at the new owner once it has ended, if nothing was written'

/** A POOL_MOVED, or an EXEC that was refused because of one. */
function isBecauseOf(error: unknown, depth = 3): boolean {
  if (isPoolError(error, 'POOL_MOVED')) return true
  if (!(error instanceof Error) || depth === 0) return false
  const { previousErrors } = error as { previousErrors?: unknown }
  const others = Array.isArray(previousErrors) ? previousErrors : []
  return [...others, error.cause].some(other => isBecauseOf(other, depth - 1))
}

/** An error with which the server says that it has not carried the command out. */
function wasUndone(reply: unknown): boolean {
  if (!(reply instanceof Error)) return false
  return isPoolError(reply, 'POOL_MOVED') || isUndone(replyWithin(reply)?.message ?? '')
}
