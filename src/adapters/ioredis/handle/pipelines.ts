import type { Pipeline } from '../client/client-types.ts'
import { ended, type Handle, LOAN } from './loan.ts'

const EXEC: unique symbol = Symbol('exec')
const HAS_RUN: unique symbol = Symbol('has run')

/** A pipeline or a MULTI that was created from a handle. */
interface OwnPipeline extends Pipeline {
  [EXEC]: Pipeline['exec']
  [HAS_RUN]: boolean
}

/**
 * Replaces `exec` of pipelines. A pipeline that runs a second time resolves with its first results, whatever happens to
 * its commands. So a second run is refused as a whole once the loan has ended. All pipelines share this one function.
 */
function exec(this: OwnPipeline, ...args: unknown[]): Promise<unknown> {
  const loan = (this.redis as Partial<Handle>)[LOAN]
  if (loan?.ended !== true || !this[HAS_RUN]) {
    this[HAS_RUN] = true
    // Passes the exact number of arguments: in an inline transaction they are arguments of a command, and undefined
    // counts.
    return this[EXEC](...args)
  }
  const [callback] = args
  const refused = Promise.reject(ended(loan, 'pipeline().exec'))
  if (typeof callback === 'function') refused.catch(callback as (error: unknown) => void)
  return refused
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
