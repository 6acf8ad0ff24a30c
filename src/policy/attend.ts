import type { Wait } from './scope.ts'
import { Trace } from './stacks.ts'

/** Wakes {@link attend}, to look around or to go. */
export class Bell {
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

/**
 * Waits in the caller's stead. Its promise is the one that the caller awaits, so whenever it wakes, V8 can tell from
 * it who awaits the acquire at that moment: the functions that are really suspended on it, all others left out.
 */
export async function attend<R>(served: Promise<R>, bell: Bell, wait: Wait): Promise<R> {
  let over = false
  const end = (): void => {
    over = true
    bell.ring()
  }
  served.then(end, end)
  for (;;) {
    await bell.rung
    if (over) return await served
    wait.chain = new Trace(attend)
  }
}
