/**
 * A queue whose entries may leave from anywhere: they mark themselves gone, and the queue skips them when they come
 * to the front. It compacts once more than half of it is gone, so every operation is O(1) amortised and it never
 * keeps more than about twice what lives in it.
 */
export class Fifo<E extends { readonly gone: boolean }> {
  #entries: (E | undefined)[] = []
  #head = 0
  /** Entries that have not left. */
  live = 0

  push(entry: E): void {
    this.#entries.push(entry)
    this.live += 1
  }

  /** The first entry that has not left; it stays. */
  peek(): E | undefined {
    while (this.#head < this.#entries.length) {
      const entry = this.#entries[this.#head]
      if (entry !== undefined && !entry.gone) return entry
      this.#entries[this.#head] = undefined
      this.#head += 1
    }
    this.#reset()
    return undefined
  }

  /** Takes the first entry that has not left. The caller marks it gone. */
  shift(): E | undefined {
    const entry = this.peek()
    if (entry === undefined) return undefined
    this.#entries[this.#head] = undefined
    this.#head += 1
    this.live -= 1
    if (this.live === 0) this.#reset()
    else this.#tidy()
    return entry
  }

  /** Takes the last entry that has not left. The caller marks it gone. */
  pop(): E | undefined {
    for (;;) {
      if (this.#entries.length <= this.#head) {
        this.#reset()
        return undefined
      }
      const entry = this.#entries.pop()
      if (entry === undefined || entry.gone) continue
      this.live -= 1
      if (this.live === 0) this.#reset()
      return entry
    }
  }

  /** One entry has marked itself gone. */
  left(): void {
    this.live -= 1
    if (this.live === 0) this.#reset()
    else this.#tidy()
  }

  *[Symbol.iterator](): Generator<E> {
    const entries = this.#entries
    for (let at = this.#head; at < entries.length; at += 1) {
      const entry = entries[at]
      if (entry !== undefined && !entry.gone) yield entry
    }
  }

  #reset(): void {
    if (this.#entries.length > 0) this.#entries = []
    this.#head = 0
  }

  #tidy(): void {
    if (this.#entries.length > 64 && this.#entries.length > 2 * this.live) {
      this.#entries = this.#entries.filter(entry => entry !== undefined && !entry.gone)
      this.#head = 0
    }
  }
}
