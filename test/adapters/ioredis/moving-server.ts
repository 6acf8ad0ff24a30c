import type { Socket } from 'node:net'
import { type Answer, bulk, type FakeRedis, handshake, startFakeRedis } from './fake-redis.ts'

/** A server that announces its maintenance by RESP3 push messages, as Redis Cloud and Redis Software do. */
export interface MovingServer extends FakeRedis {
  /** Those that have asked for the announcements. */
  readonly listeners: ReadonlySet<Socket>
  /** What they have asked with. */
  readonly asked: readonly string[]
  /** Tells all of them. */
  push(...entries: readonly (string | number | null)[]): void
  /** From now on commands on keys stay without an answer until they are released. */
  hold(): void
  release(): void
}

const frame = (entries: readonly (string | number | null)[]): string =>
  `>${entries.length}\r\n${entries.map(one => (one === null ? '_\r\n' : typeof one === 'number' ? `:${one}\r\n` : bulk(one))).join('')}`

export async function startMovingServer(more: Answer = () => undefined): Promise<MovingServer> {
  const listeners = new Set<Socket>()
  const asked: string[] = []
  const held: (() => void)[] = []
  let isHolding = false
  const fake = await startFakeRedis((command, socket) => {
    const [name, kind] = command
    const own = more(command, socket)
    if (own !== undefined) return own
    if (name === 'CLIENT' && kind?.toUpperCase() === 'MAINT_NOTIFICATIONS') {
      asked.push(command.slice(2).join(' '))
      listeners.add(socket)
      socket.on('close', () => listeners.delete(socket))
      return '+OK\r\n'
    }
    if (name !== 'INCR') return handshake(command)
    if (!isHolding) return ':1\r\n'
    held.push(() => socket.writable && socket.write(':1\r\n'))
    return undefined
  })
  return Object.assign(Object.create(fake, Object.getOwnPropertyDescriptors(fake)), {
    listeners,
    asked,
    push: (...entries: (string | number | null)[]) => {
      for (const socket of listeners) socket.write(frame(entries))
    },
    hold: () => {
      isHolding = true
    },
    release: () => {
      isHolding = false
      for (const answer of held.splice(0)) answer()
    },
  }) as MovingServer
}
