import { EventEmitter } from 'node:events'
import type { PoolIdentity } from '../api/channels.ts'
import { messageOf } from '../api/errors.ts'
import type { PoolEvents } from '../api/events.ts'
import { warn } from '../api/messages/warnings.ts'
import { warnOfEvent } from '../api/messages/wrong-arguments.ts'
import { inMicrotask, outsideContext } from './async-context.ts'
import { channelInUse, releaseChannel } from './channels.ts'
import { isThenable } from './thenables.ts'

type Announcement<T> = {
  [K in keyof PoolEvents<T>]: { event: K; details: PoolEvents<T>[K] }
}[keyof PoolEvents<T>]

/** The listener type that `EventEmitter` takes for any event. */
type AnyListener = Parameters<EventEmitter['on']>[1]

/**
 * An emitter that has the events of a pool and allows any others. generic-pool's emitter is a plain one, and some users
 * listen for events that it never emits.
 */
interface Events<T> extends EventEmitter {
  on<K extends keyof PoolEvents<T>>(event: K, listener: (...details: PoolEvents<T>[K]) => void): this
  on(event: string | symbol, listener: AnyListener): this
  once<K extends keyof PoolEvents<T>>(event: K, listener: (...details: PoolEvents<T>[K]) => void): this
  once(event: string | symbol, listener: AnyListener): this
  addListener<K extends keyof PoolEvents<T>>(event: K, listener: (...details: PoolEvents<T>[K]) => void): this
  addListener(event: string | symbol, listener: AnyListener): this
  prependListener<K extends keyof PoolEvents<T>>(
    event: K,
    listener: (...details: PoolEvents<T>[K]) => void,
  ): this
  prependListener(event: string | symbol, listener: AnyListener): this
}

const Emitter = EventEmitter as unknown as abstract new <T>() => Events<T>

let hooksRunning = 0

/** Runs a user's hook. Events that the hook causes are delivered only after the step that called the hook. */
export function runHook<R>(hook: () => R): R {
  hooksRunning += 1
  try {
    return hook()
  } finally {
    hooksRunning -= 1
  }
}

/**
 * An emitter whose listeners cannot harm the pool. Listeners run in order, outside any async context, and never in the
 * middle of a step of the pool, so they may call the pool freely. They run at the end of the call that caused the
 * event, or in a separate microtask.
 */
export abstract class PoolEmitter<T> extends Emitter<T> {
  /**
   * @internal Whether there are listeners for the events of each loan. Kept in a field because every loan reads it
   * twice.
   */
  hasListeners = { acquire: false, release: false }
  #announcements: Announcement<T>[] = []
  #isDelivering = false
  #warned: Set<string> | undefined

  /** @internal Identifies this pool in channel messages. */
  abstract identity(): PoolIdentity

  /** @internal Whether anybody listens for the end of each loan, by event or by channel. */
  get announcesReleases(): boolean {
    return this.hasListeners.release || releaseChannel.hasSubscribers
  }

  /** @internal Whether anybody listens for the states of connections, by event or by channel. */
  get announcesStates(): boolean {
    return this.listenerCount('state') > 0 || channelInUse('state') !== undefined
  }

  /** @internal Queues an event. Its listeners are called soon. */
  announce<K extends keyof PoolEvents<T> & string>(event: K, ...details: PoolEvents<T>[K]): void {
    if (this.listenerCount(event) === 0 && channelInUse(event) === undefined) return
    if (this.#announcements.length === 0) inMicrotask(() => this.flush())
    this.#announcements.push({ event, details } as Announcement<T>)
  }

  /**
   * @internal Called at the end of a step of the pool: calls the listeners of the queued events, unless the step is
   * part of a larger one.
   */
  flush(): void {
    if (this.#announcements.length > 0 && !this.#isDelivering && hooksRunning === 0) this.#deliver()
  }

  #deliver(): void {
    const announcements = this.#announcements
    // Events that the listeners cause are delivered in another microtask.
    this.#announcements = []
    this.#isDelivering = true
    outsideContext(() => {
      for (const { event, details } of announcements) {
        for (const listener of this.rawListeners(event))
          this.#call(event as string, listener as (...details: never[]) => unknown, details)
        channelInUse(event as string)?.publish({ ...(details[0] as object), ...this.identity() })
      }
    })
    this.#isDelivering = false
  }

  /** An error that a listener throws or rejects with becomes a process warning, one per event name. */
  #call(event: string, listener: (...details: never[]) => unknown, details: readonly unknown[]): void {
    try {
      const result: unknown = Reflect.apply(listener, this, details)
      if (isThenable(result)) Promise.resolve(result).catch(error => this.#listenerFailed(event, error))
    } catch (error) {
      this.#listenerFailed(event, error)
    }
  }

  #listenerFailed(event: string, error: unknown): void {
    this.#warned ??= new Set()
    if (this.#warned.has(event)) return
    this.#warned.add(event)
    warn('LISTENER', `a listener of '${event}' failed: ${messageOf(error)}; later failures are not reported`)
  }
}

const ADDING: ReadonlySet<string> = new Set(['on', 'addListener', 'prependListener'])

/** The methods that change who listens. `once` and the like call these. */
for (const method of [
  'on',
  'addListener',
  'prependListener',
  'off',
  'removeListener',
  'removeAllListeners',
] as const) {
  const inherited = EventEmitter.prototype[method] as (...args: unknown[]) => unknown
  Object.defineProperty(PoolEmitter.prototype, method, {
    value: function change<T>(this: PoolEmitter<T>, ...args: unknown[]): PoolEmitter<T> {
      Reflect.apply(inherited, this, args)
      if (ADDING.has(method)) warnOfEvent(args[0])
      this.hasListeners = {
        acquire: this.listenerCount('acquire') > 0,
        release: this.listenerCount('release') > 0,
      }
      return this
    },
    writable: true,
    configurable: true,
  })
}
