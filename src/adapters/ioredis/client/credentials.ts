import { isError, messageOf, PoolError } from '../../../api/errors.ts'
import { isRecord, show } from '../../../api/options/read-input.ts'
import { badOptions } from '../../../api/options/resolve-options.ts'
import { unlessAborted } from '../../../runtime/abort.ts'
import { systemClock, type Timer, timeOfDay } from '../../../runtime/time/clock.ts'
import { replyWithin } from './replies/error-replies.ts'

/** What a new connection authenticates with. */
export interface RedisCredentials {
  /** Default: the user name in the options, or the server's user `default`. */
  readonly username?: string | undefined
  readonly password: string
  /** When they expire: milliseconds since 1970, or a date. Connections retire before that. */
  readonly expiresAt?: number | Date | undefined
}

/**
 * Returns the credentials of a new connection. The signal is aborted once no connection waits for them any more, and after
 * `createTimeoutMillis`.
 */
export type CredentialsFunction = (signal: AbortSignal) => RedisCredentials | Promise<RedisCredentials>

/** The same, with the expiry as a number. */
export interface Credentials {
  readonly username: string | undefined
  readonly password: string
  readonly expiresAt: number | undefined
}

/** How many logins with different credentials are tried for one connection. */
const MOST_ATTEMPTS = 5

interface Request {
  readonly number: number
  /** The credentials that a server had refused when this was asked. */
  readonly instead: Credentials | undefined
  readonly answer: Promise<Credentials>
  readonly abort: AbortController
  /** Resolves when the call has had its time. Not a signal: it would warn of its many listeners. */
  readonly isOver: Promise<undefined>
  /** Set then. */
  late: Error | undefined
  readonly since: number
  readonly deadline: Timer
  /** How many connections wait for the answer. */
  waiting: number
}

/**
 * Asks for the credentials of new connections. Connections created at the same time share one answer: those of a pool, or
 * those to all nodes of a cluster. A call has its time as well: there may always be a connection that has just begun to wait,
 * so one that never answers would otherwise be waited for without end. Those who wait when it is over fail, and ask anew.
 */
export class CredentialSource {
  readonly #ask: CredentialsFunction
  readonly #limitMillis: number
  #current: Request | undefined
  /** How many requests there have been so far. */
  #count = 0

  /** @param limitMillis - how long a call may take: as long as a create */
  constructor(ask: CredentialsFunction, limitMillis: number) {
    this.#ask = ask
    this.#limitMillis = limitMillis
  }

  /** Since when the call in progress lasts. */
  get askedSince(): number | undefined {
    return this.#current?.since
  }

  /**
   * Opens a connection with the credentials that the function returns. If the server refuses them, they may have
   * changed in the meantime. Then the function is called again at once, and the login is tried again if the answer
   * differs.
   */
  async open<R>(signal: AbortSignal, open: (credentials: Credentials) => Promise<R>): Promise<R> {
    let given = await this.#get(signal)
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await open(given)
      } catch (error) {
        if (!areRefused(error) || signal.aborted || attempt === MOST_ATTEMPTS) throw error
        const other = await this.#other(given, signal)
        if (other === undefined) throw error
        given = other
      }
    }
  }

  /**
   * Asks again, as a server has refused these.
   *
   * @returns undefined if the answer is the same
   */
  async #other(refused: Credentials, signal: AbortSignal): Promise<Credentials | undefined> {
    const known = this.#count
    const { instead } = this.#current ?? {}
    // Another server has refused the same before, and this was asked after that.
    if (instead !== undefined && isSame(instead, refused)) {
      const given = await this.#get(signal)
      if (!isSame(given, refused)) return given
    }
    // A call that began before the refusal may return the same credentials.
    if (this.#current !== undefined && this.#current.number <= known) this.#current = undefined
    const given = await this.#get(signal, refused)
    return isSame(given, refused) ? undefined : given
  }

  /** @param signal - of the connection that is being created; it ends the wait */
  async #get(signal: AbortSignal, instead?: Credentials): Promise<Credentials> {
    signal.throwIfAborted()
    const isFirst = this.#current === undefined
    this.#current ??= this.#request(instead)
    const request = this.#current
    const { answer, isOver } = request
    request.waiting += 1
    try {
      // The first one has its own time limit, which is the same one and knows of stalls.
      const given = await unlessAborted(signal, isFirst ? answer : Promise.race([answer, isOver]))
      if (given !== undefined) return given
    } finally {
      request.waiting -= 1
      if (request.waiting === 0) this.#leave(request, signal.reason ?? request.late)
    }
    const reason = signal.reason ?? request.late
    const said = `given up while the function credentials was asked (${messageOf(reason)})`
    const error = new PoolError('POOL_CONNECT_FAILED', said, { cause: reason })
    failures.add(error)
    throw error
  }

  #request(instead: Credentials | undefined): Request {
    this.#count += 1
    const abort = new AbortController()
    let over = (): void => {}
    const isOver = new Promise<undefined>(resolve => {
      over = () => resolve(undefined)
    })
    const deadline = systemClock.after(this.#limitMillis, () => {
      request.late = new Error(`no answer within ${this.#limitMillis} ms`)
      over()
      this.#end(request, undefined)
    })
    const answer = this.#answer(abort.signal)
    const since = systemClock.now()
    const request: Request = {
      ...{ number: this.#count, instead, answer, abort, isOver, since, deadline },
      ...{ late: undefined, waiting: 0 },
    }
    // A connection created after the answer asks again.
    const settled = (): void => this.#end(request, undefined)
    answer.then(settled, settled)
    return request
  }

  async #answer(signal: AbortSignal): Promise<Credentials> {
    try {
      return read(await this.#ask(signal))
    } catch (given) {
      const isObject = typeof given === 'object' && given !== null
      const said = `the function credentials failed: ${messageOf(given)}`
      const error = isObject ? given : new PoolError('POOL_CONNECT_FAILED', said, { cause: given })
      failures.add(error)
      throw error
    }
  }

  /**
   * The last connection that waited for the answer has left. The call goes on until the end of this turn of the event loop:
   * that connection may have given its place to another one, which waits for the same.
   */
  #leave(request: Request, reason: unknown): void {
    if (reason === undefined) this.#end(request, reason)
    else systemClock.after(0, () => request.waiting === 0 && this.#end(request, reason))
  }

  #end(request: Request, reason: unknown): void {
    request.deadline.cancel()
    if (this.#current === request) this.#current = undefined
    if (reason !== undefined) request.abort.abort(reason)
  }
}

const isSame = (a: Credentials, b: Credentials): boolean =>
  a.username === b.username && a.password === b.password

/** Errors of the function `credentials`, and errors about what it returned. */
const failures = new WeakSet<object>()

/** Is this an error of the function `credentials`, or about what it returned? */
export function isOfCredentials(error: unknown): boolean {
  for (let each = error, depth = 0; isError(each) && depth < 5; each = each.cause, depth += 1)
    if (failures.has(each)) return true
  return failures.has(error as object)
}

/** @throws PoolError if credentials with this expiry are of no use any more */
export function unlessExpired(expiresAt: number | undefined): number | undefined {
  const over = expiresAt === undefined ? 0 : timeOfDay() - expiresAt
  if (expiresAt === undefined || over < 0) return expiresAt
  const error = new PoolError(
    'POOL_CONNECT_FAILED',
    `what the function credentials gave had expired ${Math.round(over)} ms before: correct its expiresAt, or the clocks`,
  )
  failures.add(error)
  throw error
}

export function wrongCredentials(issues: readonly string[]): PoolError {
  const error = badOptions(issues, undefined, undefined, 'what the function credentials returned')
  failures.add(error)
  return error
}

/** @throws PoolError `POOL_BAD_OPTIONS` */
function read(given: unknown): Credentials {
  const { username, password, expiresAt } = (isRecord(given) ? given : {}) as Partial<RedisCredentials>
  const issues: string[] = []
  if (!isRecord(given))
    issues.push(`credentials must give { username?, password, expiresAt? }, got ${kindOf(given)}`)
  else if (typeof password !== 'string' || password === '')
    issues.push('credentials must give a password: a text that is not empty')
  if (username !== undefined && typeof username !== 'string')
    issues.push('credentials must give username as a text, or leave it out')
  const end = expiresAt instanceof Date ? expiresAt.getTime() : expiresAt
  if (end !== undefined && (typeof end !== 'number' || Number.isNaN(end)))
    issues.push(
      `credentials must give expiresAt as a date or in milliseconds since 1970, got ${kindOf(expiresAt)}`,
    )
  if (issues.length > 0) throw wrongCredentials(issues)
  return { username, password: password as string, expiresAt: unlessExpired(end as number | undefined) }
}

/** What it is, without its value, which may be the password. */
const kindOf = (given: unknown): string =>
  typeof given === 'object' || given === undefined || Number.isNaN(given) ? show(given) : `a ${typeof given}`

const REFUSED = /^(?:WRONGPASS|NOAUTH)\b|^ERR invalid password/i

/** Has the server refused the credentials of a new connection? */
function areRefused(error: unknown): boolean {
  const said = replyWithin(error)?.message
  return said !== undefined && REFUSED.test(said)
}
