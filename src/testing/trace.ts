/** Only the last lines are kept; the hash is of all of them. */
const MOST_LINES = 2000

/** What has happened in a simulation, line by line, and a hash of it. */
export class Trace {
  readonly #lines: string[] = []
  /** FNV-1a, 32 bits. */
  #hash = 0x811c9dc5

  add(now: number, what: string): void {
    const line = `${now.toFixed(3)} ${what}`
    for (let index = 0; index < line.length; index += 1)
      this.#hash = Math.imul(this.#hash ^ line.charCodeAt(index), 0x01000193)
    this.#lines.push(line)
    if (this.#lines.length > MOST_LINES) this.#lines.shift()
  }

  get lines(): readonly string[] {
    return this.#lines
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0')
  }
}
