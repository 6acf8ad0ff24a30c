/*
 * Factories for tests: one that counts, and one whose every hook the test scripts (ok, rejects, throws, held, hangs).
 */

import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import type { Factory } from '../../src/api/factory.ts'

/** What the factories of this file make unless told otherwise. */
export interface Connection {
  readonly id: number
}

/** Counts what exists: sockets opened, closed, open now, open at most. */
export class Ledger<T> {
  readonly created: T[] = []
  readonly destroyed: T[] = []
  readonly open = new Set<T>()
  /** Destroys of something that was not open: a second destroy, or a stranger. */
  strayDestroys = 0
  mostOpen = 0

  opened(resource: T): void {
    this.created.push(resource)
    this.open.add(resource)
    this.mostOpen = Math.max(this.mostOpen, this.open.size)
  }

  closed(resource: T): void {
    this.destroyed.push(resource)
    if (!this.open.delete(resource)) this.strayDestroys += 1
  }
}

/** Every hook succeeds at once; the ledger counts. */
export class CountingFactory implements Factory<Connection> {
  readonly ledger = new Ledger<Connection>()

  async create(): Promise<Connection> {
    const connection = { id: this.ledger.created.length }
    this.ledger.opened(connection)
    return connection
  }

  async validate(connection: Connection): Promise<boolean> {
    return this.ledger.open.has(connection)
  }

  async destroy(connection: Connection): Promise<void> {
    this.ledger.closed(connection)
  }
}

/**
 * What one call of a hook does. `held` leaves it to the test, by {@link Hook.call}; `hangs` is a call that nobody
 * will ever answer. `later` puts its answer off to the next turn of the event loop.
 */
export type Behaviour<R> =
  | 'ok'
  | 'held'
  | 'hangs'
  | { readonly gives: R }
  | { readonly rejects: unknown }
  | { readonly throws: unknown }
  | { readonly later: Exclude<Behaviour<R>, 'held' | 'hangs'> }

/** A call that waits for the test's word. */
export interface HeldCall<A, R> {
  readonly argument: A
  readonly signal: AbortSignal | undefined
  /** Answers it; without a value, with what the hook gives when all is well. */
  ok(value?: R): void
  reject(error: unknown): void
}

/** One hook of a {@link ScriptedFactory}: the test decides what each call does. */
export class Hook<A, R> {
  calls = 0
  readonly #succeed: (argument: A, value: R | undefined) => R
  readonly #script: Behaviour<R>[] = []
  #otherwise: Behaviour<R> = 'ok'
  readonly #held: HeldCall<A, R>[] = []
  readonly #callers: ((call: HeldCall<A, R>) => void)[] = []

  constructor(succeed: (argument: A, value: R | undefined) => R) {
    this.#succeed = succeed
  }

  /** The next calls do this, one each, in this order. */
  next(...behaviours: Behaviour<R>[]): this {
    this.#script.push(...behaviours)
    return this
  }

  /** All calls beyond the script do this. */
  always(behaviour: Behaviour<R>): this {
    this.#otherwise = behaviour
    return this
  }

  /** The oldest held call that no test has taken yet; waits for it if need be. */
  call(): Promise<HeldCall<A, R>> {
    const call = this.#held.shift()
    return call === undefined ? new Promise(resolve => this.#callers.push(resolve)) : Promise.resolve(call)
  }

  /** What the pool calls. */
  run(argument: A, signal?: AbortSignal): R | Promise<R> {
    this.calls += 1
    return this.#act(this.#script.shift() ?? this.#otherwise, argument, signal)
  }

  #act(behaviour: Behaviour<R>, argument: A, signal?: AbortSignal): R | Promise<R> {
    if (behaviour === 'hangs') return new Promise<never>(() => {})
    if (behaviour === 'held') return this.#hold(argument, signal)
    if (behaviour === 'ok') return Promise.resolve(this.#succeed(argument, undefined))
    if ('gives' in behaviour) return Promise.resolve(this.#succeed(argument, behaviour.gives))
    if ('rejects' in behaviour) return Promise.reject(behaviour.rejects)
    if ('throws' in behaviour) throw behaviour.throws
    return nextTurn().then(() => this.#act(behaviour.later, argument, signal))
  }

  #hold(argument: A, signal: AbortSignal | undefined): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      const ok = (value?: R): void => resolve(this.#succeed(argument, value))
      const call: HeldCall<A, R> = { argument, signal, ok, reject }
      const caller = this.#callers.shift()
      if (caller === undefined) this.#held.push(call)
      else caller(call)
    })
  }
}

/** A factory under remote control. It has a `validate` and a `reset` only if asked for: their mere presence matters. */
export class ScriptedFactory<T = Connection> implements Factory<T> {
  readonly ledger = new Ledger<T>()
  readonly onCreate: Hook<undefined, T>
  readonly onDestroy = new Hook<T, void>(resource => this.ledger.closed(resource))
  readonly onValidate = new Hook<T, boolean>((resource, value) => value ?? this.ledger.open.has(resource))
  readonly onReset = new Hook<T, void>(() => {})
  validate?: (resource: T, signal?: AbortSignal) => boolean | Promise<boolean>
  reset?: (resource: T, signal?: AbortSignal) => void | Promise<void>

  constructor(make: (id: number) => T, ...hooks: readonly ('validate' | 'reset')[]) {
    this.onCreate = new Hook<undefined, T>((_, value) => {
      const resource = value ?? make(this.ledger.created.length)
      this.ledger.opened(resource)
      return resource
    })
    if (hooks.includes('validate'))
      this.validate = (resource, signal) => this.onValidate.run(resource, signal)
    if (hooks.includes('reset')) this.reset = (resource, signal) => this.onReset.run(resource, signal)
  }

  create(signal?: AbortSignal): T | Promise<T> {
    return this.onCreate.run(undefined, signal)
  }

  destroy(resource: T): void | Promise<void> {
    return this.onDestroy.run(resource)
  }
}

/** A factory under remote control whose connections are plain numbered records. */
export const scripted = (...hooks: readonly ('validate' | 'reset')[]): ScriptedFactory =>
  new ScriptedFactory<Connection>(id => ({ id }), ...hooks)

/** Lets the event loop turn so many times, and all microtasks with it. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await nextTurn()
}

/** Has the event loop stand still. */
export function block(millis: number): void {
  const end = performance.now() + millis
  while (performance.now() < end);
}

/** Where a promise has got to. */
export type Settled<T> =
  | { readonly state: 'pending' }
  | { readonly state: 'fulfilled'; readonly value: T }
  | { readonly state: 'rejected'; readonly reason: unknown }

/** Is it settled now? Microtasks and one turn of the event loop pass, no more. */
export const settledNow = <T>(promise: Promise<T>): Promise<Settled<T>> =>
  Promise.race([settling(promise), nextTurn({ state: 'pending' } as const)])

/** How it ends, or `pending` if it has not ended within so many milliseconds; more if the loop stood still meanwhile. */
export async function settledWithin<T>(promise: Promise<T>, within: number): Promise<Settled<T>> {
  const over = new AbortController()
  const { signal } = over
  const patience = async (): Promise<Settled<never>> => {
    await pause(within, undefined, { signal })
    for (let polls = 0; polls < LEAST_POLLS; polls += 1) await pause(POLL_MILLIS, undefined, { signal })
    return { state: 'pending' }
  }
  const bound = patience()
  bound.catch(() => {})
  try {
    return await Promise.race([settling(promise), bound])
  } finally {
    over.abort()
  }
}

const settling = <T>(promise: Promise<T>): Promise<Settled<T>> =>
  promise.then(
    value => ({ state: 'fulfilled', value }) as const,
    (reason: unknown) => ({ state: 'rejected', reason }) as const,
  )

const POLL_MILLIS = 2
/** After a condition that takes long to answer, the pause is so many times as long. */
const POLL_REST = 4
const MOST_POLL_MILLIS = 50
/** So many are made however much time has passed: a process that stood still has not looked yet. */
const LEAST_POLLS = 20

/**
 * Polls until the condition holds.
 *
 * @throws Error once the bound (default 10 s) has passed, naming what was waited for
 */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  { within = 10_000, what = condition.toString() }: { within?: number; what?: string } = {},
): Promise<void> {
  const end = performance.now() + within
  for (let polls = 0; ; polls += 1) {
    const since = performance.now()
    if (await condition()) return
    const now = performance.now()
    if (now > end && polls > LEAST_POLLS) throw new Error(`not within ${within} ms: ${what}`)
    // A condition that asks servers costs processor time, theirs as well: that is a part of the whole only.
    await pause(Math.max(POLL_MILLIS, Math.min(POLL_REST * (now - since), MOST_POLL_MILLIS)))
  }
}

/**
 * Waits until what lies idle in the pool has grown older by so much. For a pool a stall of the loop ages nothing; a busy
 * machine has many, and the last may not be counted yet: ask for 200 ms more than what counts.
 */
export async function aged(
  pool: { stats(): { stalls: { totalMillis: number } } },
  millis: number,
): Promise<void> {
  const stalled = (): number => pool.stats().stalls.totalMillis
  const since = performance.now() - stalled()
  await eventually(() => performance.now() - stalled() - since > millis, {
    within: millis + 20_000,
    what: `${millis} ms without stalls`,
  })
}
