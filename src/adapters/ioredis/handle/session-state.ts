import type { Command } from '../client/client-types.ts'
import { replyWithin } from '../client/replies/error-replies.ts'
import { effectOf } from './command-effects.ts'

/** What is left on a connection when a loan ends. */
export interface Left {
  /** Names everything that cannot be undone. */
  readonly dirt: readonly string[]
  readonly watching: boolean
  readonly elsewhere: boolean
}

/** Commands that may change the user of the connection. */
const IDENTITY = ['AUTH', 'HELLO', 'RESET']

/** At most this many different leftovers are named per connection. */
const MOST_NAMED = 5

/**
 * What the commands of one loan leave behind on the connection. They are recorded when they are sent and, where it
 * matters, when they are answered. Replies arrive in the order of the commands. Each step has a number, so that the
 * reply to an EXEC does not clear a WATCH that was sent after it.
 */
export class SessionState {
  readonly #home: number
  readonly #clean: ReadonlySet<string>
  #steps = 0
  /** The number of the step that opened what is still open; 0 if nothing is open. */
  #multi = 0
  #watch = 0
  #select = 0
  #dirt: Set<string> | undefined
  readonly #onInnerError: (error: Error) => void

  /**
   * @param home - the database that the connection belongs to
   * @param clean - the user's own commands that leave nothing behind, in lower case
   * @param onInnerError - is called with each error inside the reply of an EXEC
   */
  constructor(home: number, clean: ReadonlySet<string>, onInnerError: (error: Error) => void) {
    this.#home = home
    this.#clean = clean
    this.#onInnerError = onInnerError
  }

  /**
   * Called before a command that is not plain is sent.
   * @returns the name of what it may leave behind
   */
  sent(command: Command): string | undefined {
    const effect = effectOf(command.name, command.args, this.#clean)
    if (effect.kind === 'none') return undefined
    if (effect.kind === 'state') {
      this.#dirt ??= new Set()
      if (this.#dirt.size < MOST_NAMED) this.#dirt.add(effect.what)
      return effect.what
    }
    this.#steps += 1
    const step = this.#steps
    if (effect.kind === 'database') {
      this.#select = step
      if (Number(String(command.args[0])) === this.#home) onOk(command, () => this.#cameHome(step))
      return undefined
    }
    switch (effect.command) {
      case 'multi':
        this.#multi = step
        return 'MULTI'
      case 'watch': {
        const before = this.#watch
        this.#watch = step
        onFailure(command, error => {
          if (this.#watch === step && isRefusal(error)) this.#watch = before
        })
        return undefined
      }
      case 'unwatch':
        // Inside a MULTI, the reply is QUEUED and nothing has been done yet.
        onOk(command, () => this.#unwatched(step))
        return undefined
      case 'discard':
        onOk(command, () => this.#closed(step))
        return undefined
      case 'exec':
        onAnswer(command, answer => {
          if (!isExecuted(answer)) return
          if (Array.isArray(answer))
            for (const inner of answer) if (inner instanceof Error) this.#onInnerError(inner)
          this.#closed(step)
        })
        return undefined
    }
  }

  /** May the borrower have changed the user of the connection, or logged out? */
  get hasChangedUser(): boolean {
    return IDENTITY.some(name => this.#dirt?.has(name))
  }

  /** What is left behind once every command has been answered. */
  left(): Left {
    const dirt = [...(this.#dirt ?? [])]
    if (this.#multi > 0) dirt.push('MULTI')
    return { dirt, watching: this.#watch > 0, elsewhere: this.#select > 0 }
  }

  #closed(step: number): void {
    if (this.#multi < step) this.#multi = 0
    this.#unwatched(step)
  }

  #unwatched(step: number): void {
    if (this.#watch < step) this.#watch = 0
  }

  #cameHome(step: number): void {
    if (this.#select <= step) this.#select = 0
  }
}

/*
 * These do not use the command's promise: a callback given to ioredis, or code that awaits the command, may end the loan
 * before a reaction to the promise would run.
 */

function onReply(command: Command, then: (reply: unknown) => void): void {
  const { resolve } = command
  command.resolve = function (this: Command, reply) {
    then(reply)
    return resolve.call(this, reply)
  }
}

/** Calls the function with an error reply, or with the reason why there is no reply. */
function onFailure(command: Command, then: (error: Error) => void): void {
  const { reject } = command
  command.reject = function (this: Command, error) {
    then(error)
    return reject.call(this, error)
  }
}

/** Calls the function with the reply, or with the error. */
export function onAnswer(command: Command, then: (answer: unknown) => void): void {
  onReply(command, then)
  onFailure(command, then)
}

function onOk(command: Command, then: () => void): void {
  onReply(command, reply => {
    if (String(reply) === 'OK') then()
  })
}

/** The server has not carried the command out. */
const isRefusal = (error: Error): boolean => replyWithin(error) !== undefined

/** Besides EXECABORT, a node of a cluster discards the transaction if it may not carry it out. */
const isExecRefused = (message: string | undefined): boolean =>
  message !== undefined && /^(?:EXECABORT|MOVED|ASK|TRYAGAIN|CLUSTERDOWN|CROSSSLOT)\b/.test(message)

/** An array, null if a watched key has changed, or EXECABORT: the transaction is over, and so is the WATCH. */
const isExecuted = (answer: unknown): boolean =>
  answer instanceof Error
    ? isExecRefused(replyWithin(answer)?.message)
    : answer === null || Array.isArray(answer)
