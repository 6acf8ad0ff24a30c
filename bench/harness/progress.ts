/** Says on stderr how far the run has come: in place on a terminal, else a line every now and then. */
export class Progress {
  readonly #total: number
  readonly #started = performance.now()
  #done = 0
  #saidAt = Number.NEGATIVE_INFINITY

  constructor(total: number) {
    this.#total = total
  }

  get seconds(): number {
    return Math.round((performance.now() - this.#started) / 1000)
  }

  step(what: string): void {
    const share = String(Math.floor((100 * this.#done) / this.#total)).padStart(3)
    this.#done += 1
    const line = `${share} % ${String(this.seconds).padStart(4)} s  ${what}`
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\u001b[K${line.slice(0, (process.stderr.columns ?? 100) - 1)}`)
    } else if (performance.now() - this.#saidAt > 5000) {
      this.#saidAt = performance.now()
      process.stderr.write(`${line}\n`)
    }
  }

  note(what: string): void {
    this.clear()
    process.stderr.write(`${what}\n`)
  }

  clear(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
  }
}
