import { EventEmitter } from 'node:events'
import { outside } from './context.ts'
import { messageOf } from './errors.ts'
import type { PoolEvents } from './types.ts'

/** An emitter whose listeners cannot harm the pool, and run in nobody's context. */
export class PoolEmitter<T> extends EventEmitter<PoolEvents<T>> {
  #warned: Set<string> | undefined

  /** @internal Tells the listeners. What they throw, or reject with, becomes one process warning an event. */
  announce<K extends keyof PoolEvents<T> & string>(event: K, ...details: PoolEvents<T>[K]): void {
    if (this.listenerCount(event) === 0) return
    outside(() => {
      for (const listener of this.rawListeners(event)) {
        try {
          const result: unknown = Reflect.apply(listener, this, details)
          if (result instanceof Promise) result.catch(error => this.#listenerFailed(event, error))
        } catch (error) {
          this.#listenerFailed(event, error)
        }
      }
    })
  }

  #listenerFailed(event: string, error: unknown): void {
    this.#warned ??= new Set()
    if (this.#warned.has(event)) return
    this.#warned.add(event)
    process.emitWarning(
      `a listener of '${event}' failed: ${messageOf(error)}; later failures are not reported`,
      {
        type: 'LifeguardPoolWarning',
        code: 'LIFEGUARD_POOL_LISTENER',
      },
    )
  }
}
