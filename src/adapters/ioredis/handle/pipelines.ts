import type { Pipeline } from '../client/client-types.ts'
import { ended, type Handle, LOAN } from './loan.ts'

const EXEC: unique symbol = Symbol('exec')
const HAS_RUN: unique symbol = Symbol('has run')

/** A pipeline, or a MULTI, that was made from a handle. */
interface OwnPipeline extends Pipeline {
  [EXEC]: Pipeline['exec']
  [HAS_RUN]: boolean
}

/**
 * Run a second time, a pipeline resolves with what it did the first time, whatever becomes of its commands: so that is
 * refused as a whole once its loan has ended. The method is one for all.
 */
function exec(this: OwnPipeline, ...args: unknown[]): Promise<unknown> {
  const loan = (this.redis as Partial<Handle>)[LOAN]
  if (loan?.ended !== true || !this[HAS_RUN]) {
    this[HAS_RUN] = true
    // By number: within an inline transaction these are the arguments of a command, and undefined is one.
    return this[EXEC](...args)
  }
  const [callback] = args
  const refused = Promise.reject(ended(loan, 'pipeline().exec'))
  if (typeof callback === 'function') refused.catch(callback as (error: unknown) => void)
  return refused
}

function bound(made: unknown): unknown {
  const pipeline = made as OwnPipeline
  // A MULTI without a pipeline is a command.
  if (typeof pipeline?.exec !== 'function') return made
  pipeline[EXEC] = pipeline.exec
  pipeline[HAS_RUN] = false
  pipeline.exec = exec
  return pipeline
}

/** The method of a client that makes pipelines, or a MULTI, for its handles. */
export function bounded(prototype: object, name: string): unknown {
  const original = Reflect.get(prototype, name) as (...args: unknown[]) => unknown
  return function (this: Handle, ...args: unknown[]): unknown {
    return bound(Reflect.apply(original, this, args))
  }
}
