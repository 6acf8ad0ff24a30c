/** Keeps the latest of what is added, and counts what it has dropped for that. */
export class Ring<E> {
  dropped = 0
  /** The entry that was dropped last. */
  lastDropped: E | undefined
  readonly #entries: E[] = []
  readonly #most: number
  #oldest = 0

  constructor(most: number) {
    this.#most = most
  }

  add(entry: E): void {
    if (this.#entries.length < this.#most) {
      this.#entries.push(entry)
      return
    }
    this.dropped += 1
    this.lastDropped = this.#entries[this.#oldest]
    this.#entries[this.#oldest] = entry
    this.#oldest = (this.#oldest + 1) % this.#most
  }

  get latest(): E | undefined {
    return this.#entries.at(this.#oldest - 1)
  }

  /** All of them, oldest first. */
  all(): E[] {
    return [...this.#entries.slice(this.#oldest), ...this.#entries.slice(0, this.#oldest)]
  }
}
