import { bulk, type FakeRedis, handshake, startFakeRedis } from './fake-redis.ts'

/** What a fake sentinel says, to be changed at any time. */
export interface Word {
  host: string
  port: number
  /** undefined: it does not tell, as sentinels of old. */
  epoch: number | undefined
  /** It answers nothing any more, as a process that is stopped. */
  hangs?: boolean
}

export interface FakeSentinel {
  readonly server: FakeRedis
  readonly endpoint: { host: string; port: number }
  readonly word: Word
  /** How many listen to it. */
  readonly listeners: number
  /** Tells them of a switch, which it has gone through. */
  switchTo(port: number, host?: string): void
  stop(): Promise<void>
}

const list = (...fields: string[]): string => `*${fields.length}\r\n${fields.map(bulk).join('')}`

/** A sentinel of its own mind, for a master of this name. */
export async function startFakeSentinel(name: string, word: Word): Promise<FakeSentinel> {
  const tell = new Set<(message: string) => void>()
  const server = await startFakeRedis(([command = '', ...args], socket) => {
    if (word.hangs) return undefined
    // No RESP3: a subscription then looks alike for both versions of ioredis.
    if (command === 'HELLO') return "-ERR unknown command 'HELLO'\r\n"
    if (command === 'SUBSCRIBE') {
      const listener = (message: string): void =>
        void socket.write(list('message', '+switch-master', message))
      tell.add(listener)
      socket.once('close', () => tell.delete(listener))
      return `*3\r\n${bulk('subscribe')}${bulk('+switch-master')}:1\r\n`
    }
    if (command !== 'SENTINEL') return handshake([command])
    const { host, port, epoch } = word
    switch (args[0]?.toLowerCase()) {
      case 'get-master-addr-by-name':
        return list(host, String(port))
      case 'master':
        return epoch === undefined
          ? '-ERR unknown subcommand\r\n'
          : list('name', name, 'config-epoch', String(epoch))
      default:
        return '*0\r\n'
    }
  })
  return {
    server,
    endpoint: { host: '127.0.0.1', port: server.port },
    word,
    get listeners() {
      return tell.size
    },
    switchTo(port, host = word.host) {
      const message = `${name} ${word.host} ${word.port} ${host} ${port}`
      Object.assign(word, { port, host, epoch: word.epoch === undefined ? undefined : word.epoch + 1 })
      for (const listener of tell) listener(message)
    },
    stop: () => server.stop(),
  }
}
