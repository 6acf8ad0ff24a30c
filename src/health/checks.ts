import type { ValidateMessage } from '../api/channels.ts'
import { messageOf } from '../api/errors.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import type { Leftover } from '../connections/handles.ts'
import type { Fault, Slot } from '../connections/slot.ts'
import { endOperation, runOperation, validateChannel } from '../runtime/channels.ts'
import { attempt } from '../runtime/deadline.ts'
import { runHook } from '../runtime/emitter.ts'
import { log } from '../runtime/log.ts'

/**
 * Has a connection validate itself, within its deadline.
 * @returns what is wrong with it
 */
export async function validate<T>(context: PoolContext<T>, slot: Slot<T>): Promise<Fault | undefined> {
  const { factory, options, clock } = context
  const check = (signal: AbortSignal) => factory.validate?.(slot.resource as T, signal)
  const since = clock.now()
  const message: ValidateMessage | undefined = validateChannel.hasSubscribers
    ? { ...context.identity(), connection: slot.id, millis: undefined, valid: undefined }
    : undefined
  const ended = await attempt<unknown>(
    signal =>
      message === undefined ? check(signal) : runOperation(validateChannel, message, () => check(signal)),
    options.validateTimeoutMillis,
    context,
  )
  if (message !== undefined) {
    message.millis = clock.now() - since
    message.valid = ended.ok && Boolean(ended.value)
    endOperation(validateChannel, message, ended.ok ? undefined : ended)
  }
  if (log.validate.enabled) log.validate('%s #%d: %O', options.name, slot.id, ended)
  if (ended.ok && ended.value) return undefined
  // What its socket has said meanwhile is why: a FIN that arrived while the loop stood still, for one.
  if (slot.fault !== undefined) return slot.fault
  const detail = ended.ok ? 'factory.validate said no' : `factory.validate failed: ${messageOf(ended.error)}`
  return { reason: 'invalid', detail }
}

/**
 * What a connection goes through on its return: leftovers are undone, `factory.reset`, then `testOnReturn`.
 * @returns what is wrong with it
 */
export async function reset<T>(
  context: PoolContext<T>,
  slot: Slot<T>,
  left: Leftover | undefined,
): Promise<Fault | undefined> {
  const { factory, options } = context
  if (left?.undo !== undefined) {
    const undone = await attempt(left.undo, options.resetTimeoutMillis, context)
    if (!undone.ok)
      return { reason: 'dirty', detail: `${left.detail}, not undone: ${messageOf(undone.error)}` }
  }
  if (factory.reset !== undefined) {
    const ended = await attempt(
      signal => factory.reset?.(slot.resource as T, signal),
      options.resetTimeoutMillis,
      context,
    )
    if (!ended.ok) return { reason: 'dirty', detail: `factory.reset failed: ${messageOf(ended.error)}` }
  }
  return options.testOnReturn ? validate(context, slot) : undefined
}

/**
 * Asks the server for its idle limit, over a connection that nobody else uses meanwhile.
 * @returns what is wrong with the connection: a refusal is an answer, silence is not
 */
export async function askLimit<T>(context: PoolContext<T>, slot: Slot<T>): Promise<Fault | undefined> {
  const { factory, options, serverLimit } = context
  const ended = await attempt(
    async () => factory.serverIdleTimeout?.(slot.resource as T),
    options.validateTimeoutMillis,
    context,
  )
  if (log.validate.enabled) log.validate('%s: the idle limit of the server: %O', options.name, ended)
  serverLimit.answered(ended.ok ? ended.value : undefined)
  if (ended.ok || !ended.timedOut) return undefined
  return { reason: 'invalid', detail: 'the server did not answer when it was asked for its idle limit' }
}

/** Has the borrower left what cannot be put right, or work unanswered? The next one would get the replies. */
export function leftDirty<T>(
  { factory }: PoolContext<T>,
  slot: Slot<T>,
  left: Leftover | undefined,
): Fault | undefined {
  const scrubbed = slot.watch?.restore()
  if (scrubbed !== undefined) return { reason: 'dirty', detail: scrubbed }
  if (left !== undefined && left.undo === undefined) return { reason: 'dirty', detail: left.detail }
  if (factory.busy === undefined) return undefined
  try {
    return runHook(() => factory.busy?.(slot.resource as T))
      ? { reason: 'dirty', detail: 'it came back with unanswered work' }
      : undefined
  } catch (error) {
    return { reason: 'dirty', detail: `factory.busy threw: ${messageOf(error)}` }
  }
}
