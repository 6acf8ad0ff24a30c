/** This chunk ends before the reply does. */
export const TORN = -1
/** What comes is no reply: see {@link ReplyScanner.fault}. */
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

/** What a value begins with: one that is a line, one that is a length and as many bytes, or a count and as many values. */
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

/** Values that ioredis reads by their place: what else stands there would shift all that follow. */
const EXACT: ReadonlyMap<number, RegExp> = new Map([
  [code('_'), /^$/],
  [code('#'), /^[tf]$/],
  [code(','), /^(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|[+-]?inf|nan)$/i],
])

/** The arrays of JavaScript end there. */
const MOST_ENTRIES = 2 ** 32 - 1
/** Lists within lists. ioredis 5 reads them by recursion, and runs out of stack at some thousands. */
const DEEPEST = 500
const MOST_DIGITS = 15
/** Of texts no more is kept: enough for the names of messages, and for any number. */
const LONGEST_TEXT = 32
/** So many of the first entries of a list are looked at. */
const LOOKED_AT = 4

/**
 * Most of what is long is a list of short texts. One that is here in whole, and is none of those that are looked at, takes
 * no more than this.
 *
 * @param from - behind its first byte
 * @returns the position behind it, or 0 if it has to be read bit by bit
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
  const isWhole = at > from && chunk[at] === CR && chunk[at + 1] === LF
  return isWhole && chunk[end] === CR && chunk[end + 1] === LF ? end + 2 : 0
}

/** Which part of a value comes next. */
type Part = 'type' | 'count' | 'count end' | 'line' | 'body end' | 'line end'

/**
 * Follows what a server sends, in the form of either protocol, as far as it takes to know where each reply ends and what
 * stands at its beginning. It keeps no bytes.
 */
export class ReplyScanner {
  /** Of the reply that was read last, or is being read. */
  #top = 0
  #size = 0
  #isNull = false
  /** The first entry of a list, if it is a short text. */
  #word: string | undefined
  /** Which of the first entries are null: one bit for each. */
  #nulls = 0

  #part: Part = 'type'
  /** Of the value that is being read. */
  #type = 0
  #count = 0
  #digits = 0
  #isNegative = false
  #bodyLeft = 0
  #text = ''
  #keepsText = false
  /** How many values are still to come, for each list that has begun, the innermost last. */
  readonly #open: number[] = []
  #fault = ''

  /** Why {@link next} has given {@link BROKEN}. */
  get fault(): string {
    return this.#fault
  }

  get isPush(): boolean {
    return this.#top === PUSH
  }

  get isError(): boolean {
    return this.#top === MINUS || this.#top === code('!')
  }

  /** Of whatever kind: ioredis makes arrays of all. */
  get isList(): boolean {
    return KINDS[this.#top] === LIST && !this.#isNull
  }

  /** The number of its entries, or of its bytes. */
  get size(): number {
    return this.#size
  }

  /** A text of more than one byte. */
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
   * Reads on to the end of the next reply.
   *
   * @returns the position behind it, or {@link TORN}, or {@link BROKEN}
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
      if (byte === BULK && this.#part === 'type' && this.#open.length > 0 && !this.#isFirst) {
        const end = endOfBulk(chunk, at)
        if (end > 0) {
          at = end
          this.#type = BULK
          this.#isNegative = false
          this.#keepsText = false
          if (this.#ended()) return at
          continue
        }
      }
      switch (this.#part) {
        case 'type':
          if (!this.#begin(byte)) return BROKEN
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
          else return this.#broken('a length that is none')
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

  /** The first byte of a value. @returns whether it is one */
  #begin(byte: number): boolean {
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

  /** Is that the first entry of the list which the reply is? */
  get #isFirst(): boolean {
    return this.#open.length === 1 && this.#open[0] === this.#size
  }

  get #entries(): number {
    return this.#type === MAP ? this.#count * 2 : this.#count
  }

  /** The line of a length has ended. @returns whether the reply has, too */
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

  /** A value has ended. @returns whether the reply has, too */
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
    if (open.length === 1) this.#note(this.#size - (open[0] as number), isNull)
    while (open.length > 0) {
      const last = open.length - 1
      const left = (open[last] as number) - 1
      open[last] = left
      if (left > 0) return false
      open.pop()
    }
    return true
  }

  /** An entry of the list that the reply is, and no list itself. */
  #note(index: number, isNull: boolean): void {
    if (index >= LOOKED_AT) return
    if (isNull) this.#nulls |= 1 << index
    else if (index === 0 && this.#keepsText) this.#word = this.#text
  }

  #broken(what: string): typeof BROKEN {
    this.#fault = what
    return BROKEN
  }
}
