/*
 * The Redis wire protocol, both versions. Texts are latin1 inside the server, one character a byte, so that values
 * stay binary-safe without being buffers.
 */

/** `+OK`. */
export class Status {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** `-ERR ...`; thrown by a command, or an element of EXEC's answer. */
export class Failure extends Error {}

/** A map in RESP3, a flat array in RESP2. */
export class Table {
  readonly entries: [string, Reply][]
  constructor(entries: [string, Reply][]) {
    this.entries = entries
  }
}

/** RESP2 tells a null array (BLPOP's timeout, a failed EXEC) from a null string; RESP3 does not. */
export const NULL_ARRAY = Symbol('null array')

export type Reply = string | number | null | typeof NULL_ARRAY | Status | Failure | Table | readonly Reply[]

export const OK = new Status('OK')

function header(mark: string, text: string | number): string {
  return `${mark}${text}\r\n`
}

/** The reply as latin1 text. */
export function encode(reply: Reply, protocol: 2 | 3): string {
  if (typeof reply === 'string') return `${header('$', reply.length)}${reply}\r\n`
  if (typeof reply === 'number') return header(':', reply)
  if (reply === null) return protocol === 3 ? '_\r\n' : '$-1\r\n'
  if (reply === NULL_ARRAY) return protocol === 3 ? '_\r\n' : '*-1\r\n'
  if (reply instanceof Status) return header('+', reply.text)
  if (reply instanceof Failure) return header('-', reply.message)
  if (reply instanceof Table) {
    const body = reply.entries.map(([key, value]) => encode(key, protocol) + encode(value, protocol)).join('')
    return header(...mapHeader(reply.entries.length, protocol)) + body
  }
  return header('*', reply.length) + reply.map(one => encode(one, protocol)).join('')
}

function mapHeader(length: number, protocol: 2 | 3): [string, number] {
  return protocol === 3 ? ['%', length] : ['*', length * 2]
}

/** Cuts a stream of chunks into commands; keeps what is incomplete for the next chunk. */
export class CommandParser {
  private rest = ''

  /** The commands that are complete now. Throws a {@link Failure} on what is not the protocol. */
  push(chunk: Buffer): string[][] {
    this.rest += chunk.toString('latin1')
    const commands: string[][] = []
    let at = 0
    for (;;) {
      const next = this.next(at)
      if (next === undefined) break
      at = next.end
      if (next.words.length > 0) commands.push(next.words)
    }
    this.rest = this.rest.slice(at)
    return commands
  }

  private next(start: number): { words: string[]; end: number } | undefined {
    const first = this.line(start)
    if (first === undefined) return undefined
    // An inline command, as typed into telnet.
    if (!first.text.startsWith('*')) return { words: first.text.split(' ').filter(Boolean), end: first.end }
    const words: string[] = []
    let at = first.end
    for (let left = length(first.text); left > 0; left--) {
      const size = this.line(at)
      if (size === undefined) return undefined
      if (!size.text.startsWith('$')) throw new Failure("ERR Protocol error: expected '$'")
      const end = size.end + length(size.text)
      if (this.rest.length < end + 2) return undefined
      words.push(this.rest.slice(size.end, end))
      at = end + 2
    }
    return { words, end: at }
  }

  private line(start: number): { text: string; end: number } | undefined {
    const end = this.rest.indexOf('\r\n', start)
    return end < 0 ? undefined : { text: this.rest.slice(start, end), end: end + 2 }
  }
}

function length(text: string): number {
  const value = Number(text.slice(1))
  if (!Number.isInteger(value)) throw new Failure('ERR Protocol error: invalid length')
  return value
}
