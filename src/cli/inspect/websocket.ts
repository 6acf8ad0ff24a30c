import { randomBytes } from 'node:crypto'
import { request } from 'node:http'
import type { Socket } from 'node:net'

/*
 * As much of a WebSocket (RFC 6455) as the inspector of Node speaks: text, whole or in parts, and the end. Node 20 has
 * no client of its own.
 */

const TEXT = 1
const CLOSE = 8
const PING = 9
const PONG = 10

export interface WebSocketLine {
  send(text: string): void
  close(): void
}

interface Listener {
  message(text: string): void
  /** Once, however it ends. */
  closed(): void
}

/** Opens a WebSocket to an address of this machine. Rejects if there is none, or it takes too long. */
export function openWebSocket(
  { host, port, path }: { host: string; port: number; path: string },
  listener: Listener,
  millis: number,
): Promise<WebSocketLine> {
  return new Promise((resolve, reject) => {
    const headers = {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    }
    const call = request({ host, port, path, headers, timeout: millis, agent: false })
    call.on('timeout', () => call.destroy(new Error(`no answer within ${millis} ms`)))
    call.on('error', reject)
    call.on('response', ({ statusCode }) => {
      call.destroy()
      reject(new Error(`the inspector refused the connection: ${statusCode}`))
    })
    call.on('upgrade', (_response, stream, head) => {
      const socket = stream as Socket
      socket.setTimeout(0)
      const frames = new Frames(socket, listener)
      frames.receive(head)
      resolve(frames)
    })
    call.end()
  })
}

class Frames implements WebSocketLine {
  readonly #socket: Socket
  readonly #listener: Listener
  #rest: Buffer = Buffer.alloc(0)
  #parts: Buffer[] = []

  constructor(socket: Socket, listener: Listener) {
    this.#socket = socket
    this.#listener = listener
    socket.on('data', chunk => this.receive(chunk))
    socket.on('error', () => {})
    socket.once('close', () => listener.closed())
  }

  send(text: string): void {
    this.#write(TEXT, Buffer.from(text))
  }

  close(): void {
    this.#write(CLOSE, Buffer.alloc(0))
    this.#socket.end()
  }

  receive(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) this.#handle(...frame)
  }

  /** A whole frame, once it is there: what it is, whether it is the last part of a message, and what it holds. */
  #next(): [code: number, isLast: boolean, payload: Buffer] | undefined {
    const bytes = this.#rest
    if (bytes.length < 2) return undefined
    const short = bytes.readUInt8(1) & 0x7f
    const start = short === 126 ? 4 : short === 127 ? 10 : 2
    if (bytes.length < start) return undefined
    const length =
      short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short
    if (bytes.length < start + length) return undefined
    this.#rest = bytes.subarray(start + length)
    const first = bytes.readUInt8(0)
    return [first & 0x0f, (first & 0x80) !== 0, bytes.subarray(start, start + length)]
  }

  #handle(code: number, isLast: boolean, payload: Buffer): void {
    if (code === PING) this.#write(PONG, payload)
    else if (code === CLOSE) this.#socket.end()
    else if (code <= TEXT) {
      this.#parts.push(payload)
      if (!isLast) return
      const text = Buffer.concat(this.#parts).toString()
      this.#parts = []
      this.#listener.message(text)
    }
  }

  /** What a client sends is masked. */
  #write(code: number, payload: Buffer): void {
    if (!this.#socket.writable) return
    const mask = randomBytes(4)
    const { length } = payload
    const head = length < 126 ? Buffer.alloc(2) : length < 65_536 ? Buffer.alloc(4) : Buffer.alloc(10)
    head.writeUInt8(0x80 | code, 0)
    head.writeUInt8(0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127), 1)
    if (head.length === 4) head.writeUInt16BE(length, 2)
    if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2)
    const masked = Buffer.from(payload)
    for (let at = 0; at < length; at += 1) masked[at] = (masked[at] ?? 0) ^ (mask[at % 4] ?? 0)
    this.#socket.write(Buffer.concat([head, mask, masked]))
  }
}
