import type { Size } from './view.ts'

/** The terminal as `top` uses it. */
export interface Terminal {
  readonly input: NodeJS.ReadStream
  readonly output: NodeJS.WriteStream
}

const ESC = '\u001b'
const ENTER = `${ESC}[?1049h${ESC}[?25l${ESC}[?7l`
/** No colour, the cursor, wrapping at the edge, the screen as it was. */
const LEAVE = `${ESC}[0m${ESC}[?7h${ESC}[?25h${ESC}[?1049l`

const SMALLEST: Size = { columns: 80, rows: 24 }

/** Keys that mean more than one byte. */
const NAMED: Readonly<Record<string, string>> = {
  '\u001b[A': 'up',
  '\u001bOA': 'up',
  '\u001b[B': 'down',
  '\u001bOB': 'down',
  '\t': 'down',
  '\u001b[Z': 'up',
  '\u0003': 'q',
  '\u0004': 'q',
  '\u001a': 'suspend',
}

/** One key. A lone escape is the start of a key whose rest is still on its way: it means nothing. */
const KEY = new RegExp(`${ESC}(?:\\[[0-9;]*[A-Za-z]|O[A-Za-z])?|[^${ESC}]`, 'gu')

/**
 * Draws on the alternate screen of a terminal, and reads keys. However the process ends, short of SIGKILL, the terminal
 * is put back.
 */
export class Screen {
  readonly #terminal: Terminal
  readonly #onKey: (key: string) => void
  readonly #onResize: () => void
  #isEntered = false
  /** The terminal has been closed. */
  readonly #gone = (): void => this.#onKey('q')
  readonly #leave = (): void => this.leave()
  readonly #keys = (chunk: Buffer | string): void => {
    // Several keys may come at once, as when they are pasted or sent by a slow line.
    for (const key of String(chunk).match(KEY) ?? []) this.#onKey(NAMED[key] ?? key)
  }

  constructor(terminal: Terminal, onKey: (key: string) => void, onResize: () => void) {
    this.#terminal = terminal
    this.#onKey = onKey
    this.#onResize = onResize
    terminal.input.on('error', this.#gone)
  }

  get size(): Size {
    const { columns, rows } = this.#terminal.output
    // A terminal that does not know its size says 0.
    return { columns: columns || SMALLEST.columns, rows: rows || SMALLEST.rows }
  }

  enter(): void {
    if (this.#isEntered) return
    this.#isEntered = true
    const { input, output } = this.#terminal
    process.on('exit', this.#leave)
    output.write(ENTER)
    output.on('resize', this.#onResize)
    if (input.isTTY) input.setRawMode(true)
    input.on('data', this.#keys).on('end', this.#gone).resume()
  }

  leave(): void {
    if (!this.#isEntered) return
    this.#isEntered = false
    const { input, output } = this.#terminal
    process.off('exit', this.#leave)
    output.off('resize', this.#onResize)
    input.off('data', this.#keys).off('end', this.#gone).pause()
    try {
      if (input.isTTY) input.setRawMode(false)
    } finally {
      output.write(LEAVE)
    }
  }

  /** Draws all lines in one write, so that nothing flickers. */
  draw(lines: readonly string[]): void {
    if (!this.#isEntered) return
    // Erased before it is written: after a full line, the erasing would take its last character.
    const frame = lines.map(line => `${ESC}[2K${line}`).join('\r\n')
    this.#terminal.output.write(`${ESC}[H${frame}${ESC}[${lines.length < this.size.rows ? 'J' : 'm'}`)
  }
}
