import { StackTrace } from '../runtime/stack-trace.ts'
import type { Scope, WaitEdge } from './scope.ts'

/*
 * The functions of this file are async, and the promise that they return is the one that the caller awaits. So
 * whenever they are resumed, V8 can tell from it who awaits the acquire at that moment: the functions that are really
 * suspended on it, all others left out.
 */

/** Wakes {@link trackAwaiters}, to look around or to go. */
export class Signal {
  #ring!: () => void
  rung!: Promise<void>

  constructor() {
    this.#hang()
  }

  readonly ring = (): void => {
    const ring = this.#ring
    this.#hang()
    ring()
  }

  #hang(): void {
    this.rung = new Promise(resolve => {
      this.#ring = resolve
    })
  }
}

/** Waits in the caller's stead, and looks who awaits the acquire each time the bell rings. */
export async function trackAwaiters<R>(
  served: Promise<R>,
  bell: Signal,
  wait: WaitEdge,
  scope: Scope,
): Promise<R> {
  let over = false
  const end = (): void => {
    over = true
    bell.ring()
  }
  served.then(end, end)
  for (;;) {
    await bell.rung
    if (over) break
    wait.chain = new StackTrace(trackAwaiters)
  }
  if (!scope.exact && scope.state === 'held') scope.owners = new StackTrace(trackAwaiters)
  return await served
}

/** Hands over what a plain acquire has been served with, and notes who gets it. */
export async function noteOwners<R>(served: Promise<R>, scope: Scope): Promise<R> {
  const lent = await served
  if (scope.state === 'held') scope.owners = new StackTrace(noteOwners)
  return lent
}
