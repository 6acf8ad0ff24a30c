import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket, connect as tcpConnect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'

/** Borrows a client for as long as the function runs. */
export type Borrow = (work: (client: Redis) => Promise<void>) => Promise<unknown>

/** A write that was acknowledged. Times are those of `performance.now()`. */
export interface Write {
  readonly serial: number
  readonly at: number
  /** The server that acknowledged it. */
  readonly port: number
}

/** What a crowd of writers has seen. */
export interface Load {
  /** How often which error came. */
  readonly errors: Map<string, number>
  readonly writes: Write[]
  /** When each write was sent, by its number. */
  readonly sentAt: number[]
  /** How many callers have had no answer for so long by now. */
  hung(millis: number): number
  /** The longest that any caller has waited for an answer of either kind. */
  readonly longestMillis: number
  /** Lets every writer finish; false if some have not within that time. */
  stop(withinMillis?: number): Promise<boolean>
}

/** Each of the writers borrows a client, sets a key to the number of the write, gives the client back, and rests. */
export function startLoad(
  borrow: Borrow,
  portOf = (client: Redis): number => client.stream.remotePort as number,
  writers = 16,
): Load {
  const errors = new Map<string, number>()
  const writes: Write[] = []
  const sentAt: number[] = []
  const open = new Map<number, number>()
  let running = true
  let longest = 0
  const write = async (serial: number): Promise<void> => {
    try {
      await borrow(async client => {
        sentAt[serial] = performance.now()
        await client.set(`key:${serial % 1000}`, serial)
        // A client that reconnects by itself may have begun with another server.
        writes.push({ serial, at: performance.now(), port: portOf(client) })
      })
    } catch (error) {
      const what = nameOf(error)
      errors.set(what, (errors.get(what) ?? 0) + 1)
    }
  }
  let serial = 0
  const writer = async (): Promise<void> => {
    while (running) {
      serial += 1
      const mine = serial
      const since = performance.now()
      open.set(mine, since)
      await write(mine)
      open.delete(mine)
      longest = Math.max(longest, performance.now() - since)
      // The rate of the load, and nothing that is waited for.
      await pause(2)
    }
  }
  const all = Promise.all(Array.from({ length: writers }, writer)).then(() => true)
  const waits = () => [...open.values()].map(since => performance.now() - since)
  return {
    errors,
    writes,
    sentAt,
    hung: millis => waits().filter(waited => waited > millis).length,
    get longestMillis() {
      return Math.max(longest, ...waits())
    },
    async stop(withinMillis = 20_000) {
      running = false
      const late = new AbortController()
      const patience = pause(withinMillis, false, { signal: late.signal, ref: false }).catch(() => false)
      return Promise.race([all, patience]).finally(() => late.abort())
    },
  }
}

function nameOf(error: unknown): string {
  const { code, name, message } = error as Error & { code?: string }
  return (
    code ??
    (name === 'ReplyError' ? (message.split(' ', 1)[0] as string) : `${name}: ${message.slice(0, 60)}`)
  )
}

/** An address that stays, as that of a load balancer: new connections go to its present target, old ones stay. */
export interface FixedAddress {
  readonly port: number
  target: number
  /** Where the connection from this local port of a client has been taken. */
  targetOf(client: Redis): number
  stop(): Promise<void>
}

export async function startFixedAddress(target: number): Promise<FixedAddress> {
  const sockets = new Set<Socket>()
  const targets = new Map<number, number>()
  const keep = (socket: Socket, other: () => Socket) => {
    sockets.add(socket)
    socket
      .on('error', () => {})
      .on('close', () => {
        sockets.delete(socket)
        other().destroy()
      })
  }
  const server = createServer({ noDelay: true }, near => {
    const far = tcpConnect({ port: fixed.target, host: '127.0.0.1', noDelay: true })
    targets.set(near.remotePort as number, fixed.target)
    keep(near, () => far)
    keep(far, () => near)
    near.pipe(far).pipe(near)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const fixed: FixedAddress = {
    port: (server.address() as AddressInfo).port,
    target,
    targetOf: client => targets.get(client.stream.localPort as number) ?? 0,
    async stop() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return fixed
}

/**
 * The numbers of the writes that a server carries out from now on. By a socket of its own: ioredis 6 stumbles over a
 * MONITOR whose first lines come together with its OK.
 */
export async function watchWrites(port: number): Promise<{ readonly serials: Set<number>; stop(): void }> {
  const serials = new Set<number>()
  const socket = tcpConnect(port, '127.0.0.1').setEncoding('latin1')
  socket.on('error', () => {})
  socket.write('MONITOR\r\n')
  let rest = ''
  socket.on('data', text => {
    const lines = `${rest}${text}`.split('\r\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const serial = /"set" "key:\d+" "(\d+)"$/.exec(line)?.[1]
      if (serial !== undefined) serials.add(Number(serial))
    }
  })
  await once(socket, 'data')
  return { serials, stop: () => socket.destroy() }
}
