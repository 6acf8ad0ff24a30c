import { isError, isPoolError } from '../api/errors.ts'
import { askHook } from '../runtime/sync-hooks.ts'
import { adviceForCode } from './permanent-codes.ts'

/**
 * Why a connection could not be made, as far as it matters for the next try. `unreachable`: nobody accepted it, so a
 * try costs the server nothing. `turned-away`: the server accepted it and closed it or refused, so each try costs it
 * work. `permanent`: trying again will not help.
 */
export interface ConnectFailure {
  readonly error: unknown
  readonly kind: 'unreachable' | 'turned-away' | 'permanent'
  /** For a permanent failure: what to do about it. */
  readonly advice?: string
}

/** Error codes that mean that nobody accepted the connection. An error without any code counts as such, too. */
const UNREACHABLE: ReadonlySet<unknown> = new Set([
  ...['ECONNREFUSED', 'ENOENT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'ETIMEDOUT'],
  ...['ENOTFOUND', 'EAI_AGAIN', 'EADDRNOTAVAIL', 'EMFILE', 'ENFILE', undefined],
])

const ADVICE = {
  bug: 'It looks like a bug in factory.create, which trying again does not fix: see the stack of the cause',
  options: 'The function that creates the client returned something that cannot be pooled: see the cause',
  factory: 'Trying again does not fix it: check the credentials and settings with which it connects',
} as const

/**
 * Classifies the error of a failed create. A create that timed out counts as unreachable: the time that it took was
 * pause enough, and trying again costs the server nothing more.
 */
export function connectFailure(
  { error, timedOut }: { readonly error: unknown; readonly timedOut?: boolean },
  isPermanent: ((error: unknown) => boolean | string) | undefined,
): ConnectFailure {
  try {
    const advice = permanentAdvice(error, isPermanent)
    if (advice !== undefined) return { error, kind: 'permanent', advice }
    const isUnreachable = timedOut || causes(error).every(each => UNREACHABLE.has(codeOf(each)))
    return { error, kind: isUnreachable ? 'unreachable' : 'turned-away' }
  } catch {
    // The error throws when it is inspected, so it counts as one without a code.
    return { error, kind: 'unreachable' }
  }
}

function permanentAdvice(
  error: unknown,
  isPermanent: ((error: unknown) => boolean | string) | undefined,
): string | undefined {
  let said: unknown
  try {
    said = askHook('isPermanent', () => isPermanent?.(error))
  } catch {
    // A classification that throws is ignored.
  }
  if (typeof said === 'string' && said !== '') return said.replace(/\.$/, '')
  if (said === true) return ADVICE.factory
  if (isPoolError(error, 'POOL_BAD_OPTIONS')) return ADVICE.options
  if (isBug(error)) return ADVICE.bug
  for (const each of causes(error)) {
    const advice = adviceForCode(codeOf(each))
    if (advice !== undefined) return advice
  }
  return undefined
}

/**
 * Checks the name, because the error may come from another realm. fetch rejects with `TypeError: fetch failed` in every
 * outage, with a cause.
 */
export function isBug(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { name, cause } = error as Partial<Error>
  return name === 'ReferenceError' || (name === 'TypeError' && cause === undefined)
}

/** The error and its chain of causes. */
function causes(error: unknown): unknown[] {
  const found: unknown[] = []
  for (let each = error; isError(each) && found.length < 5; each = each.cause) found.push(each)
  return found
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code
