import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { eventually } from '../../support/factories.ts'

/** A server that speaks as much RESP as a handshake needs, and for the rest says what the test wants. */
export interface FakeRedis {
  readonly port: number
  /** Connections that are open on this side. */
  readonly sockets: ReadonlySet<Socket>
  /** How many there have been. */
  readonly accepted: number
  stop(): Promise<void>
}

/** The answer to a command; undefined: none. The name is in upper case. */
export type Answer = (command: readonly string[], socket: Socket) => string | undefined

export const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`

/** What a healthy server answers. */
export function handshake([name]: readonly string[]): string {
  if (name === 'HELLO') return `%1\r\n${bulk('proto')}:3\r\n`
  if (name === 'INFO') return bulk('role:master\r\nloading:0\r\n')
  return name === 'PING' ? '+PONG\r\n' : '+OK\r\n'
}

/** A healthy server but for these commands. */
export const butFor =
  (answers: Readonly<Record<string, string>>): Answer =>
  command =>
    answers[command[0] as string] ?? handshake(command)

export async function startFakeRedis(answer: Answer = handshake): Promise<FakeRedis> {
  const sockets = new Set<Socket>()
  let accepted = 0
  const server = createServer(socket => {
    accepted += 1
    sockets.add(socket)
    // Two writes in a row would be 40 ms apart: the second waits for the acknowledgement of the first.
    socket.setNoDelay(true)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    let text = ''
    socket.on('data', chunk => {
      text += chunk.toString('latin1')
      for (let next = readCommand(text); next !== undefined; next = readCommand(text)) {
        text = text.slice(next.length)
        const reply = answer(next.command, socket)
        if (reply !== undefined && socket.writable) socket.write(reply)
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    get accepted() {
      return accepted
    },
    async stop() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Runs with a server, and sees that no connection to it is left. */
export async function withFake(answer: Answer, run: (fake: FakeRedis) => Promise<void>): Promise<void> {
  const fake = await startFakeRedis(answer)
  try {
    await run(fake)
    await eventually(() => fake.sockets.size === 0, { what: 'all connections are closed' })
  } finally {
    await fake.stop()
  }
}

export function readCommand(text: string): { command: string[]; length: number } | undefined {
  const head = /^\*(\d+)\r\n/.exec(text)
  if (head === null) return undefined
  const command: string[] = []
  let at = head[0].length
  for (let left = Number(head[1]); left > 0; left -= 1) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(at, at + 16))
    if (size === null) return undefined
    const start = at + size[0].length
    const end = start + Number(size[1])
    if (text.length < end + 2) return undefined
    command.push(text.slice(start, end))
    at = end + 2
  }
  command[0] = command[0]?.toUpperCase() ?? ''
  return { command, length: at }
}
