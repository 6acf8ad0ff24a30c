import type { Socket } from 'node:net'
import { PoolError } from '../../../../api/errors.ts'
import type { Command, CommandQueue, RedisClient } from '../client-types.ts'
import { BROKEN, ReplyScanner, TORN } from './reply-scanner.ts'
import { isSubscription, misfit } from './reply-shape.ts'

interface Item {
  readonly command: { -readonly [K in keyof Command]: Command[K] }
}

interface Queue extends CommandQueue {
  shift(): Item | undefined
  push(item: Item): number
}

type Internals = RedisClient & {
  flushQueue?(...args: unknown[]): void
  emit(event: 'error', error: Error): boolean
}

/** Receives a reply that matches no command. */
const NOBODY: Item = {
  command: { name: 'ping', args: [''], resolve() {}, reject() {}, promise: Promise.resolve() },
}

const guards = new WeakMap<CommandQueue, ReplyGuard>()

/** How an answer of a TLS server to a client without TLS begins: as an alert, of any version. */
const ALERT = [0x15, 0x03] as const

function notRedis({ fault }: ReplyScanner, chunk: Buffer, at: number): string {
  return chunk[at] === ALERT[0] && chunk[at + 1] === ALERT[1]
    ? 'Protocol error: the server sent a TLS alert, so it expects TLS at this port: use rediss:// or the option tls'
    : `Protocol error: the server sent ${fault}, which is not the Redis protocol`
}

/**
 * Reads what the server sends before ioredis does. ioredis throws on some of it: a null that matches no command, a null
 * in the place of the name of a message or channel, an array that is too long or too deep. It throws inside the
 * socket's event or in a tick of its own, where nobody could catch the error. Such data does not reach ioredis: the
 * client emits `error` and is ended.
 */
class ReplyGuard {
  readonly #client: Internals
  readonly #queue: Queue
  readonly #scanner = new ReplyScanner()
  readonly #read: (chunk: Buffer) => void
  /** The chunks of an incomplete reply that ioredis gets as a whole or not at all. */
  readonly #held: Buffer[] = []
  /** Set once a subscription has been sent: from then on each reply may change what the next one has to be. */
  isCareful = false
  isOver = false
  /** Is called with each complete push message, and the text that it begins with. */
  onPush: ((word: string, frame: Buffer) => void) | undefined

  /** @param read - the listener of ioredis for the data of the socket */
  constructor(client: RedisClient, read: (chunk: Buffer) => void) {
    this.#client = client as Internals
    this.#queue = client.commandQueue as Queue
    this.#read = read
  }

  onData(chunk: Buffer): void {
    const scanner = this.#scanner
    /** Positions in the chunk: up to `given` it was passed to ioredis, up to `sound` it was checked. */
    let given = 0
    let sound = 0
    while (!this.isOver && sound < chunk.length) {
      const end = scanner.next(chunk, sound)
      if (end === TORN) break
      const wrong = end === BROKEN ? notRedis(scanner, chunk, sound) : this.#misfit(scanner)
      if (wrong !== undefined) {
        this.#held.length = 0
        this.#give(chunk, given, sound)
        if (!this.isOver) this.fail(wrong)
        return
      }
      if (scanner.isPush && this.onPush !== undefined && scanner.word !== undefined)
        this.onPush(scanner.word, Buffer.concat([...this.#held, chunk.subarray(sound, end)]))
      if (this.#held.length > 0) for (const held of this.#held.splice(0)) this.#give(held, 0, held.length)
      sound = end
      if (this.isCareful) {
        this.#give(chunk, given, end)
        given = end
      }
    }
    // ioredis 6 does not wait for the last bytes of a null, so it would act on an incomplete reply.
    const isHeld = sound < chunk.length && (this.isCareful || scanner.isPush)
    this.#give(chunk, given, isHeld ? sound : chunk.length)
    if (isHeld && !this.isOver) this.#held.push(chunk.subarray(sound))
  }

  #misfit(scanner: ReplyScanner): string | undefined {
    if (!scanner.isPush && !this.isCareful) return undefined
    const wrong = misfit(scanner, this.#client, this.isCareful ? this.#queue.peekAt(0) : undefined)
    return wrong === undefined ? undefined : `Command queue state error: the server sent ${wrong}`
  }

  /** If a listener of the borrower throws, the error is rethrown in a tick of its own, as ioredis 6 does. */
  #give(chunk: Buffer, from: number, to: number): void {
    if (from >= to || this.isOver) return
    try {
      this.#read(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to))
    } catch (error) {
      process.nextTick(() => {
        throw error
      })
    }
  }

  /** Ends the client, see `onFault`. Replies that follow in the same chunk are discarded by `silence`. */
  fail(what: string): void {
    this.#client.emit('error', new PoolError('POOL_BAD_REPLY', what))
  }
}

/**
 * Puts a guard in front of ioredis. Call it once the client is connected: until then ioredis replaces the queue and
 * does not listen to the socket.
 */
export function guardReplies(client: RedisClient): void {
  const queue = client.commandQueue as Queue
  const stream = client.stream as Socket | undefined
  const [read] = stream?.rawListeners('data') ?? []
  const internals = client as Internals
  const { flushQueue } = internals
  if (Object.hasOwn(queue, 'shift') || flushQueue === undefined) return
  if (stream === undefined || read === undefined) return
  const guard = new ReplyGuard(client, chunk => read.call(stream, chunk))
  guards.set(queue, guard)
  // Prepended, like the listener of ioredis, and before that one is removed: without a listener the socket would stop.
  stream.prependListener('data', chunk => guard.onData(chunk))
  stream.removeListener('data', read as (chunk: Buffer) => void)
  queue.shift = shiftGuarded
  queue.push = pushGuarded
  const flushGuarded = (...args: unknown[]): void => {
    // ioredis takes commands out until none is left, and needs an honest end of the queue for that.
    const { shift } = queue
    Reflect.deleteProperty(queue, 'shift')
    try {
      flushQueue.apply(client, args)
    } finally {
      queue.shift = shift
    }
  }
  Object.defineProperty(client, 'flushQueue', { value: flushGuarded, configurable: true, writable: true })
}

/** Calls the listener with each push message from now on. ioredis ignores those that are not about channels. */
export function listenToPushes(client: RedisClient, listener: (word: string, frame: Buffer) => void): void {
  const guard = guards.get(client.commandQueue)
  if (guard !== undefined) guard.onPush = listener
}

/** ioredis calls this to get the next command, for each reply. */
function shiftGuarded(this: Queue): Item {
  const item = Object.getPrototypeOf(this).shift.call(this)
  if (item !== undefined) return item
  guards.get(this)?.fail('Command queue state error: the server sent a reply that nobody asked for')
  return NOBODY
}

function pushGuarded(this: Queue, item: Item): number {
  const { name } = item.command
  if (isSubscription(name)) {
    ;(guards.get(this) as ReplyGuard).isCareful = true
    // ioredis throws at the answer if the name is in capitals, as it may be with `call`.
    item.command.name = name.toLowerCase()
  }
  return Object.getPrototypeOf(this).push.call(this, item)
}

function shiftSilenced(): Item {
  return NOBODY
}

/**
 * Called when the client is being ended. ioredis keeps reading: it would give the remaining replies of the last chunk
 * to commands that they do not belong to, and throw where their shape does not fit. The waiting commands stay in the
 * queue and are rejected when it is flushed.
 */
export function silence(client: RedisClient): void {
  const guard = guards.get(client.commandQueue)
  if (guard === undefined) return
  guard.isOver = true
  if (client.condition) (client.condition as { subscriber: unknown }).subscriber = false
  ;(client.commandQueue as Queue).shift = shiftSilenced
}
