/** The chunk ends before the reply does. */
export const TORN = -1
/** The data is not a reply: see {@link ReplyScanner.fault}. */
export const BROKEN = -2

const code = (text: string): number => text.charCodeAt(0)
const ARRAY = code('*')
const BULK = code('$')
const MAP = code('%')
const PUSH = code('>')
const CR = 13
const LF = 10
const MINUS = code('-')
const ZERO = code('0')

/** The kinds of values: a line; a length followed by that many bytes; a count followed by that many values. */
const LINE = 1
const BODY = 2
const LIST = 3
const KINDS: Uint8Array = new Uint8Array(256)
for (const [kind, types] of [
  [LINE, '+-:(,#_'],
  [BODY, '$=!'],
  [LIST, '*%~>'],
] as const)
  for (const type of types) KINDS[code(type)] = kind

/** Values that ioredis reads at fixed positions. Any other content would shift everything that follows. */
const EXACT: ReadonlyMap<number, RegExp> = new Map([
  [code('_'), /^$/],
  [code('#'), /^[tf]$/],
  [code(','), /^(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|[+-]?inf|nan)$/i],
])

/** JavaScript arrays cannot have more entries. */
const MOST_ENTRIES = 2 ** 32 - 1
/** How deeply lists may be nested. ioredis 5 reads them recursively, and its stack overflows at some thousands. */
const DEEPEST = 500
const MOST_DIGITS = 15
/** At most this many bytes of a text are kept: enough for the names of messages and for any number. */
const LONGEST_TEXT = 32
/** How many entries at the beginning of a list are examined. */
const LOOKED_AT = 4
/** The length of the text that `endOfBulk` has found last. */
let bulkSize = 0

/**
 * A fast path for short texts, because most replies are texts or lists of them. It skips a text that is complete in the
 * chunk and is not one of the examined entries.
 *
 * @param from - the position after its first byte
 * @returns the position after the text, or 0 if it has to be read step by step
 */
function endOfBulk(chunk: Buffer, from: number): number {
  let count = 0
  let at = from
  for (const most = from + 6; at < most; at += 1) {
    const digit = (chunk[at] ?? CR) - ZERO
    if (digit < 0 || digit > 9) break
    count = count * 10 + digit
  }
  const end = at + 2 + count
  bulkSize = count
  const isWhole = at > from && chunk[at] === CR && chunk[at + 1] === LF
  return isWhole && chunk[end] === CR && chunk[end + 1] === LF ? end + 2 : 0
}

/** The part of a value that comes next. */
type Part = 'type' | 'count' | 'count end' | 'line' | 'body end' | 'line end'

/**
 * Reads what a server sends, in either protocol, just far enough to know where each reply ends and how it begins. It
 * keeps no bytes.
 */
export class ReplyScanner {
  /** About the reply that is being read or was read last. */
  #top = 0
  #size = 0
  #isNull = false
  /** The first entry of a list, if it is a short text. */
  #word: string | undefined
  /** Which of the first entries are null, as one bit each. */
  #nulls = 0

  #part: Part = 'type'
  /** About the value that is being read. */
  #type = 0
  #count = 0
  #digits = 0
  #isNegative = false
  #bodyLeft = 0
  #text = ''
  #keepsText = false
  /** For each unfinished list, the number of values still to come; the innermost list is last. */
  readonly #open: number[] = []
  #fault = ''

  /** Why {@link next} has returned {@link BROKEN}. */
  get fault(): string {
    return this.#fault
  }

  get isPush(): boolean {
    return this.#top === PUSH
  }

  get isError(): boolean {
    return this.#top === MINUS || this.#top === code('!')
  }

  /** Is the reply a list of any kind? ioredis turns all kinds into arrays. */
  get isList(): boolean {
    return KINDS[this.#top] === LIST && !this.#isNull
  }

  /** The number of the list's entries, or of the text's bytes. */
  get size(): number {
    return this.#size
  }

  /** Is the reply a text of more than one byte? */
  get isText(): boolean {
    return (this.#top === code('+') || this.#top === BULK) && !this.#isNull && this.#size > 1
  }

  get word(): string | undefined {
    return this.#word
  }

  hasNullAt(index: number): boolean {
    return (this.#nulls & (1 << index)) !== 0
  }

  /**
   * Reads to the end of the next reply.
   *
   * @returns the position after it, or {@link TORN}, or {@link BROKEN}
   */
  next(chunk: Buffer, from: number): number {
    const { length } = chunk
    let at = from
    while (at < length) {
      if (this.#bodyLeft > 0) {
        const end = Math.min(at + this.#bodyLeft, length)
        if (this.#keepsText) this.#text += chunk.toString('latin1', at, end)
        this.#bodyLeft -= end - at
        at = end
        continue
      }
      const byte = chunk[at] as number
      at += 1
      if (byte === BULK && this.#part === 'type' && !this.#isFirst) {
        const end = endOfBulk(chunk, at)
        if (end > 0) {
          at = end
          this.#startValue(BULK)
          if (this.#open.length === 0) this.#size = bulkSize
          if (this.#ended()) return at
          continue
        }
      }
      switch (this.#part) {
        case 'type':
          if (!this.#startValue(byte)) return BROKEN
          break
        case 'line':
          if (byte === CR) this.#part = 'line end'
          else {
            this.#count += 1
            if (this.#keepsText && this.#count <= LONGEST_TEXT) this.#text += String.fromCharCode(byte)
          }
          break
        case 'count':
          if (byte >= ZERO && byte <= ZERO + 9 && this.#digits < MOST_DIGITS) {
            this.#count = this.#count * 10 + byte - ZERO
            this.#digits += 1
          } else if (byte === CR && this.#isCount()) this.#part = 'count end'
          else if (byte === MINUS && this.#digits === 0 && !this.#isNegative) this.#isNegative = true
          else return this.#broken('an invalid length')
          break
        case 'body end':
          if (byte !== CR) return this.#broken('a text that is longer than it says')
          this.#part = 'line end'
          break
        case 'count end':
        case 'line end':
          if (byte !== LF) return this.#broken('a line that does not end')
          if (this.#part === 'count end' ? this.#counted() : this.#ended()) return at
          if (this.#fault !== '') return BROKEN
      }
    }
    return TORN
  }

  /**
   * Reads the first byte of a value.
   * @returns whether it can begin a value
   */
  #startValue(byte: number): boolean {
    const kind = KINDS[byte] as number
    const depth = this.#open.length
    if (kind === 0 || (byte === PUSH && depth > 0)) {
      const shown = byte > 0x20 && byte < 0x7f ? ` ('${String.fromCharCode(byte)}')` : ''
      this.#fault = `the byte 0x${byte.toString(16).padStart(2, '0')}${shown} where a value begins`
      return false
    }
    this.#type = byte
    this.#count = 0
    this.#digits = 0
    this.#isNegative = false
    this.#text = ''
    this.#keepsText = this.#isFirst || (kind === LINE && EXACT.has(byte))
    this.#part = kind === LINE ? 'line' : 'count'
    if (depth === 0) {
      this.#top = byte
      this.#isNull = false
      this.#word = undefined
      this.#nulls = 0
    }
    return true
  }

  #isCount(): boolean {
    if (this.#digits === 0) return false
    if (this.#isNegative) return this.#count === 1 && (this.#type === BULK || this.#type === ARRAY)
    return KINDS[this.#type] === BODY || this.#entries <= MOST_ENTRIES
  }

  /** Is this the first entry of the outermost list? */
  get #isFirst(): boolean {
    return this.#open.length === 1 && this.#open[0] === this.#size
  }

  get #entries(): number {
    return this.#type === MAP ? this.#count * 2 : this.#count
  }

  /**
   * Called when the line with a length or a count has ended.
   * @returns whether the reply has ended, too
   */
  #counted(): boolean {
    const depth = this.#open.length
    if (depth === 0) this.#size = this.#entries
    if (this.#isNegative) return this.#ended()
    if (KINDS[this.#type] === BODY) {
      this.#bodyLeft = this.#count
      this.#keepsText &&= this.#count <= LONGEST_TEXT
      this.#part = 'body end'
      return false
    }
    if (this.#count === 0) return this.#ended()
    if (depth === DEEPEST) this.#fault = `more than ${DEEPEST} lists within one another`
    this.#open.push(this.#entries)
    this.#part = 'type'
    return false
  }

  /**
   * Called when a value has ended.
   * @returns whether the reply has ended, too
   */
  #ended(): boolean {
    const open = this.#open
    const type = this.#type
    this.#part = 'type'
    const isNull = this.#isNegative || type === code('_')
    if (this.#keepsText && EXACT.get(type)?.test(this.#text) === false) {
      this.#fault = `'${String.fromCharCode(type)}${this.#text}', which is no value`
      return false
    }
    if (open.length === 0) {
      this.#isNull = isNull
      if (KINDS[type] === LINE) this.#size = this.#count
      return true
    }
    if (open.length === 1) this.#recordEntry(this.#size - (open[0] as number), isNull)
    while (open.length > 0) {
      const last = open.length - 1
      const left = (open[last] as number) - 1
      open[last] = left
      if (left > 0) return false
      open.pop()
    }
    return true
  }

  /** Records an entry of the outermost list that is not a list itself. */
  #recordEntry(index: number, isNull: boolean): void {
    if (index >= LOOKED_AT) return
    if (isNull) this.#nulls |= 1 << index
    else if (index === 0 && this.#keepsText) this.#word = this.#text
  }

  #broken(what: string): typeof BROKEN {
    this.#fault = what
    return BROKEN
  }
}
