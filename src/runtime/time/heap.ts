/** The list may begin with this many empty places before they are cut off. */
const MAX_GAP = 1024

/**
 * Entries ordered by deadline, the earliest first. Entries that arrive in order, as those of a single timeout do, are
 * appended to a list: that is O(1), and equal deadlines leave in order of arrival. All others go into a binary heap:
 * O(log n).
 */
export class Heap<E extends { readonly deadline: number }> {
  #list: (E | undefined)[] = []
  /** The index of the first entry in the list. The places before it are empty. */
  #start = 0
  #entries: E[] = []

  get size(): number {
    return this.#list.length - this.#start + this.#entries.length
  }

  first(): E | undefined {
    const listed = this.#list[this.#start]
    const heaped = this.#entries[0]
    if (listed === undefined || heaped === undefined) return listed ?? heaped
    return listed.deadline <= heaped.deadline ? listed : heaped
  }

  push(entry: E): void {
    const { deadline } = entry
    const last = this.#list.at(-1)
    if (deadline !== Number.POSITIVE_INFINITY && (last === undefined || last.deadline <= deadline))
      this.#list.push(entry)
    else this.#pushToHeap(entry, deadline)
  }

  pop(): E | undefined {
    const first = this.first()
    if (first === undefined) return undefined
    if (first === this.#list[this.#start]) this.#shiftList()
    else this.#popFromHeap()
    return first
  }

  clear(): void {
    this.#list = []
    this.#start = 0
    this.#entries = []
  }

  /** Drops all entries for which `keep` returns false. O(n). */
  retain(keep: (entry: E) => boolean): void {
    const listed = this.#list
    const heaped = this.#entries
    this.clear()
    for (const entry of listed) if (entry !== undefined && keep(entry)) this.#list.push(entry)
    for (const entry of heaped) if (keep(entry)) this.#pushToHeap(entry, entry.deadline)
  }

  #shiftList(): void {
    this.#list[this.#start] = undefined
    this.#start += 1
    if (this.#start === this.#list.length) this.#list = []
    else if (this.#start > MAX_GAP && this.#start * 2 > this.#list.length)
      this.#list = this.#list.slice(this.#start)
    else return
    this.#start = 0
  }

  #pushToHeap(entry: E, deadline: number): void {
    const entries = this.#entries
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

  #popFromHeap(): void {
    const last = this.#entries.pop()
    if (last !== undefined && this.#entries.length > 0) this.#sink(last)
  }

  /** Puts an entry in place of the first and moves it down to where it belongs. */
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
