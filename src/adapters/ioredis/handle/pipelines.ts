import type { Command, Pipeline } from '../client/client-types.ts'
import { ended, type Handle, LOAN, type Loan, type LoanGuard } from './loan.ts'

const EXEC: unique symbol = Symbol('exec')
const HAS_RUN: unique symbol = Symbol('has run')

/** A pipeline or a MULTI that was created from a handle. */
interface OwnPipeline extends Pipeline {
  [EXEC]: Pipeline['exec']
  [HAS_RUN]: boolean
  /** ioredis's own. */
  readonly _queue?: readonly Command[]
}

/**
 * Replaces `exec` of pipelines. A pipeline that runs a second time resolves with its first results, whatever happens to
 * its commands. So a second run is refused as a whole once the loan has ended. All pipelines share this one function.
 */
function exec(this: OwnPipeline, ...args: unknown[]): Promise<unknown> {
  const loan = (this.redis as Partial<Handle>)[LOAN]
  const refusal = loan?.guard === undefined || loan.ended ? undefined : refusalOfAny(this, loan.guard)
  if (refusal === undefined && (loan?.ended !== true || !this[HAS_RUN])) {
    this[HAS_RUN] = true
    // Passes the exact number of arguments: in an inline transaction they are arguments of a command, and undefined
    // counts.
    return this[EXEC](...args)
  }
  const [callback] = args
  const refused = Promise.reject(refusal ?? ended(loan as Loan, 'pipeline().exec'))
  if (typeof callback === 'function') refused.catch(callback as (error: unknown) => void)
  return refused
}

/** If one command is refused, none is sent: neither half a pipeline nor half a transaction. */
function refusalOfAny({ _queue = [] }: OwnPipeline, guard: LoanGuard): Error | undefined {
  for (const command of _queue) {
    const refusal = guard.refusal(command)
    if (refusal !== undefined) return refusal
  }
  return undefined
}

function withOwnExec(made: unknown): unknown {
  const pipeline = made as OwnPipeline
  // A MULTI without a pipeline is a plain command.
  if (typeof pipeline?.exec !== 'function') return made
  pipeline[EXEC] = pipeline.exec
  pipeline[HAS_RUN] = false
  pipeline.exec = exec
  return pipeline
}

/** Wraps the client method that creates pipelines, or a MULTI, for its handles. */
export function bounded(prototype: object, name: string): unknown {
  const original = Reflect.get(prototype, name) as (...args: unknown[]) => unknown
  return function (this: Handle, ...args: unknown[]): unknown {
    return withOwnExec(Reflect.apply(original, this, args))
  }
}
