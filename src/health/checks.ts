import type { Socket } from 'node:net'
import type { ValidateMessage } from '../api/channels.ts'
import { messageOf } from '../api/errors.ts'
import { unsent } from '../api/messages/error-messages.ts'
import { isNews, warn } from '../api/messages/warnings.ts'
import type { Connector } from '../connecting/connector.ts'
import type { Question } from '../connecting/control-place.ts'
import type { PoolContext } from '../connecting/pool-context.ts'
import type { Leftover } from '../connections/handles.ts'
import { expired } from '../connections/lifetime.ts'
import type { Fault, Slot } from '../connections/slot.ts'
import { lossOf } from '../connections/socket-faults.ts'
import { endOperation, runOperation, validateChannel } from '../runtime/channels.ts'
import { log } from '../runtime/log/log.ts'
import { askHook } from '../runtime/sync-hooks.ts'
import { attempt } from '../runtime/time/attempt.ts'
import { isHealthy, isOpen } from '../sockets/socket-state.ts'

const UNVOUCHED: Fault = {
  reason: 'dirty',
  left: 'failed use',
  detail: 'the function given to use failed, and there is no factory.reset to clean the connection',
}

const SURPLUS: Fault = { reason: 'surplus', detail: undefined }

/** Why a connection must not be lent, whatever state it is in. Asked at each end of a loan. */
export function unfitReason<T>(
  slot: Slot<T>,
  now: number,
  { serverIdleTimeout, options }: PoolContext<T>,
  connector: Connector<T>,
): Fault | undefined {
  const over = expired(slot, now, connector.generation, serverIdleTimeout.retireAfter, options.maxUses)
  if (over !== undefined)
    return slot.fault ?? { reason: over, detail: over === 'generation' ? connector.purgeReason : undefined }
  const lost = slot.socket === undefined ? undefined : socketFault(slot, slot.socket)
  if (lost !== undefined) return lost
  return connector.capacity.isOversized ? SURPLUS : undefined
}

function socketFault<T>({ loan }: Slot<T>, socket: Socket): Fault | undefined {
  if (isHealthy(socket)) return undefined
  // Data that the server sends before the first loan is left for the first borrower.
  return loan > 0 || !isOpen(socket) ? lossOf(socket) : undefined
}

/**
 * Validates a connection within its deadline.
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
  // An event of the socket meanwhile is the real reason, for example a FIN that arrived while the event loop was
  // blocked.
  if (slot.fault !== undefined) return slot.fault
  if (ended.ok && ended.value === undefined && isNews(`validate of ${options.name}`)) {
    warn(
      'VALIDATE',
      `factory.validate of pool '${options.name}' returned undefined, which means no: the connection is destroyed. Make it ` +
        'return true, or a promise of true, for a connection that is usable',
    )
  }
  const detail = ended.ok
    ? 'factory.validate returned no'
    : `factory.validate failed: ${messageOf(ended.error)}`
  return { reason: 'invalid', detail }
}

/**
 * Waits until the data that the borrower wrote has left the process, for at most `resetTimeoutMillis`.
 * @returns what is wrong with the connection, and in `error` with the loan: the written data will not arrive
 */
export async function flush<T>(context: PoolContext<T>, slot: Slot<T>): Promise<Fault | undefined> {
  const { options, clock, stats } = context
  const { watch } = slot
  if (watch === undefined) return undefined
  const bytes = watch.unsentBytes
  const ended = await attempt(signal => watch.flushed(clock, signal), options.resetTimeoutMillis, context)
  if (ended.ok && ended.value) return undefined
  const why = ended.ok
    ? 'the connection was lost before that'
    : `it had ${options.resetTimeoutMillis} ms for that after the loan`
  const left = watch.unsentBytes || bytes
  const detail =
    left > 0
      ? `${left} of the bytes written were not sent: ${why}`
      : `a stream was still being piped into it: ${why}`
  return { reason: 'dirty', left: 'unsent', detail, ...slot.fault, error: unsent(stats(), left, why) }
}

/**
 * The steps for a returned connection: leftovers are undone, then `factory.reset`, then `testOnReturn`.
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
      return {
        reason: 'dirty',
        left: left.left,
        detail: `${left.detail}, not undone: ${messageOf(undone.error)}`,
      }
  }
  if (factory.reset !== undefined) {
    const ended = await attempt(
      signal => factory.reset?.(slot.resource as T, signal),
      options.resetTimeoutMillis,
      context,
    )
    if (!ended.ok)
      return {
        reason: 'dirty',
        left: 'failed reset',
        detail: `factory.reset failed: ${messageOf(ended.error)}`,
      }
  }
  return options.testOnReturn ? validate(context, slot) : undefined
}

/**
 * Asks the server for its idle limit, over a connection that nobody else uses meanwhile.
 * @returns what is wrong with the connection: a refusal is an answer, silence is not
 */
export async function askIdleTimeout<T>(context: PoolContext<T>, slot: Slot<T>): Promise<Fault | undefined> {
  const { factory, options, serverIdleTimeout } = context
  const ended = await attempt(
    async () => factory.serverIdleTimeout?.(slot.resource as T),
    options.validateTimeoutMillis,
    context,
  )
  if (log.validate.enabled) log.validate('%s: the idle limit of the server: %O', options.name, ended)
  serverIdleTimeout.answered(ended.ok ? ended.value : undefined)
  if (ended.ok || !ended.timedOut) return undefined
  return { reason: 'invalid', detail: 'the server did not answer when it was asked for its idle limit' }
}

/**
 * Asks the server what an adapter wants to know, over a connection that nobody else uses meanwhile.
 * @returns what is wrong with the connection: silence, or an event of its socket
 */
export async function ask<T>(
  context: PoolContext<T>,
  slot: Slot<T>,
  questions: readonly Question<T>[],
): Promise<Fault | undefined> {
  const ended = await attempt(
    () => Promise.all(questions.map(question => question(slot.resource as T))),
    context.options.validateTimeoutMillis,
    context,
  )
  if (log.validate.enabled) log.validate('%s #%d: asked: %O', context.options.name, slot.id, ended.ok)
  if (ended.ok) return slot.fault
  return slot.fault ?? { reason: 'invalid', detail: 'the server did not answer when it was asked' }
}

/**
 * Are there bytes that the kernel has not accepted yet, or that are still being piped into the socket? Not checked
 * after `use` failed, because its caller has the error already. Not checked either where the adapter sees each command:
 * an unsent one has no answer, so the connection is dirty.
 */
export function leftUnsent<T>({ slots }: PoolContext<T>, slot: Slot<T>): boolean {
  const { watch } = slot
  return watch?.isSending === true && !slot.isDoubtful && !slots.hasHandles
}

/** Has the borrower left something behind that makes the connection unfit for the next one? */
export function leftBehind<T>(
  context: PoolContext<T>,
  slot: Slot<T>,
  left: Leftover | undefined,
  isUnsent: boolean,
): Fault | undefined {
  if (slot.isDoubtful && context.factory.reset === undefined && !context.slots.hasHandles) return UNVOUCHED
  if (left !== undefined && left.undo === undefined)
    return { reason: 'dirty', left: left.left, detail: left.detail }
  // Checked again once everything has been sent. Until then a pipe, or code that waits for `drain`, keeps writing.
  if (isUnsent) return undefined
  const replaced = slot.watch?.restore()
  if (replaced !== undefined || context.factory.busy === undefined) return replaced
  return leftBusy(context, slot)
}

/** Has the borrower left work without an answer? The next borrower would get the replies. */
function leftBusy<T>({ factory }: PoolContext<T>, slot: Slot<T>): Fault | undefined {
  try {
    return askHook('busy', () => factory.busy?.(slot.resource as T))
      ? { reason: 'dirty', left: 'unanswered', detail: 'it was returned with unanswered work' }
      : undefined
  } catch (error) {
    return { reason: 'dirty', left: 'unanswered', detail: `factory.busy threw: ${messageOf(error)}` }
  }
}
