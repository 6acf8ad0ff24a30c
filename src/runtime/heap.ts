/** A binary heap: the entry with the earliest deadline first. Push and pop are O(log n). */
export class Heap<E extends { readonly deadline: number }> {
  #entries: E[] = []

  get size(): number {
    return this.#entries.length
  }

  first(): E | undefined {
    return this.#entries[0]
  }

  /** O(1) where deadlines come in order, as those of one timeout do. */
  push(entry: E): void {
    const entries = this.#entries
    const { deadline } = entry
    let at = entries.length
    entries.push(entry)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#deadline(parent) <= deadline) break
      entries[at] = entries[parent] as E
      at = parent
    }
    entries[at] = entry
  }

  pop(): E | undefined {
    const first = this.#entries[0]
    const last = this.#entries.pop()
    if (last !== undefined && this.#entries.length > 0) this.#sink(last)
    return first
  }

  clear(): void {
    this.#entries = []
  }

  /** Drops the entries that are not worth keeping. O(n). */
  retain(keep: (entry: E) => boolean): void {
    const kept = this.#entries.filter(keep)
    this.#entries = []
    for (const entry of kept) this.push(entry)
  }

  /** Puts an entry in the place of the first and lets it sink to where it belongs. */
  #sink(entry: E): void {
    const entries = this.#entries
    const { deadline } = entry
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= entries.length) break
      if (child + 1 < entries.length && this.#deadline(child + 1) < this.#deadline(child)) child += 1
      if (this.#deadline(child) >= deadline) break
      entries[at] = entries[child] as E
      at = child
    }
    entries[at] = entry
  }

  #deadline(at: number): number {
    return (this.#entries[at] as E).deadline
  }
}
