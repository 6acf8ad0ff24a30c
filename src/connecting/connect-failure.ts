import { isPoolError } from '../api/errors.ts'
import { runHook } from '../runtime/emitter.ts'
import { adviceForCode } from './permanent-codes.ts'

/**
 * Why no connection could be made, as far as it matters for the next try: nobody was there (a try costs the server
 * nothing), the server took it and hung up or said no (a try is work for it), or trying again will not help.
 */
export interface ConnectFailure {
  readonly error: unknown
  readonly kind: 'unreachable' | 'turned-away' | 'permanent'
  /** Of a permanent one: what to do about it. */
  readonly advice?: string
}

/** What the system says where nobody took the connection. An error without any code counts as that, too. */
const UNREACHABLE: ReadonlySet<unknown> = new Set([
  ...['ECONNREFUSED', 'ENOENT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'ETIMEDOUT'],
  ...['ENOTFOUND', 'EAI_AGAIN', 'EADDRNOTAVAIL', 'EMFILE', 'ENFILE', undefined],
])

const ADVICE = {
  bug: 'It looks like a bug in factory.create, which trying again does not mend: see the stack of the cause',
  options: 'The function that makes the client gives what cannot be pooled: see the cause, and mend that',
  factory: 'Trying again does not mend it: look at the credentials and settings with which it connects',
} as const

/** What a failed create says. One that took too long costs the server no more than that: the time was the pause. */
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
    // It throws when it is looked at, and so says nothing: as one without a code.
    return { error, kind: 'unreachable' }
  }
}

function permanentAdvice(
  error: unknown,
  isPermanent: ((error: unknown) => boolean | string) | undefined,
): string | undefined {
  let said: unknown
  try {
    said = runHook(() => isPermanent?.(error))
  } catch {
    // A classification that fails says nothing.
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

/** By name, as it may come from another realm. fetch says `TypeError: fetch failed` of every outage, with the cause. */
function isBug(error: unknown): boolean {
  if (!(error instanceof Object)) return false
  const { name, cause } = error as Partial<Error>
  return name === 'ReferenceError' || (name === 'TypeError' && cause === undefined)
}

/** The error and what it says was behind it. */
function causes(error: unknown): unknown[] {
  const found: unknown[] = []
  for (let each = error; each instanceof Error && found.length < 5; each = each.cause) found.push(each)
  return found
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code
