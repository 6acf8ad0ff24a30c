import type { Socket } from 'node:net'
import type { Command, CommandQueue, RedisClient } from './client-types.ts'
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

/** Takes a reply that nobody is to have. */
const NOBODY: Item = {
  command: { name: 'ping', args: [''], resolve() {}, reject() {}, promise: Promise.resolve() },
}

const guards = new WeakMap<CommandQueue, ReplyGuard>()

/**
 * Stands between the socket and ioredis, and between ioredis and its queue of commands. ioredis throws at some of what a
 * server may send: at a reply that nobody asked for, if it is a null, at a null where the name of a message or of a channel
 * should stand, at lists that are too long or too deep. It throws out of the socket's event, or out of a tick of its own,
 * where nobody could catch that. So what it would throw at does not reach it; the client gets an `error`, and is ended.
 */
class ReplyGuard {
  readonly #client: Internals
  readonly #queue: Queue
  readonly #scanner = new ReplyScanner()
  readonly #read: (piece: Buffer) => void
  /** What has come of a reply that ioredis is to get in whole, or not at all. */
  readonly #held: Buffer[] = []
  /** A subscription has been sent: each reply may change what the next one has to be. */
  isCareful = false
  isOver = false

  /** @param read - how ioredis hears of what the server sends */
  constructor(client: RedisClient, read: (piece: Buffer) => void) {
    this.#client = client as Internals
    this.#queue = client.commandQueue as Queue
    this.#read = read
  }

  onData(piece: Buffer): void {
    const scanner = this.#scanner
    /** Up to there ioredis has it; up to there all is sound. */
    let given = 0
    let sound = 0
    while (!this.isOver && sound < piece.length) {
      const end = scanner.next(piece, sound)
      if (end === TORN) break
      const wrong =
        end === BROKEN
          ? `Protocol error: the server sent ${scanner.fault}, which is no RESP`
          : this.#misfit(scanner)
      if (wrong !== undefined) {
        this.#held.length = 0
        this.#give(piece, given, sound)
        if (!this.isOver) this.fail(wrong)
        return
      }
      if (this.#held.length > 0) for (const held of this.#held.splice(0)) this.#give(held, 0, held.length)
      sound = end
      if (this.isCareful) {
        this.#give(piece, given, end)
        given = end
      }
    }
    // ioredis 6 does not wait for the last bytes of a null.
    const isHeld = sound < piece.length && (this.isCareful || scanner.isPush)
    this.#give(piece, given, isHeld ? sound : piece.length)
    if (isHeld && !this.isOver) this.#held.push(piece.subarray(sound))
  }

  #misfit(scanner: ReplyScanner): string | undefined {
    if (!scanner.isPush && !this.isCareful) return undefined
    const wrong = misfit(scanner, this.#client, this.isCareful ? this.#queue.peekAt(0) : undefined)
    return wrong === undefined ? undefined : `Command queue state error: the server sent ${wrong}`
  }

  /** A listener of a borrower may throw. That ends nothing here: it is heard of as with ioredis 6, in a tick of its own. */
  #give(piece: Buffer, from: number, to: number): void {
    if (from >= to || this.isOver) return
    try {
      this.#read(from === 0 && to === piece.length ? piece : piece.subarray(from, to))
    } catch (error) {
      process.nextTick(() => {
        throw error
      })
    }
  }

  /** Ends the client: see `onFault`. What still comes in this piece is silenced. */
  fail(what: string): void {
    this.#client.emit('error', new Error(what))
  }
}

/**
 * To be called once the client is connected: until then it gets a new queue, and does not listen to the socket.
 */
export function guardReplies(client: RedisClient): void {
  const queue = client.commandQueue as Queue
  const stream = client.stream as Socket | undefined
  const [read] = stream?.rawListeners('data') ?? []
  const internals = client as Internals
  const { flushQueue } = internals
  if (Object.hasOwn(queue, 'shift') || flushQueue === undefined) return
  if (stream === undefined || read === undefined) return
  const guard = new ReplyGuard(client, piece => read.call(stream, piece))
  guards.set(queue, guard)
  // First, as that of ioredis is; and before that is taken away, as the socket would stop.
  stream.prependListener('data', piece => guard.onData(piece))
  stream.removeListener('data', read as (piece: Buffer) => void)
  queue.shift = shiftGuarded
  queue.push = pushGuarded
  const flushGuarded = (...args: unknown[]): void => {
    // ioredis takes commands out until there is none.
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

/** ioredis takes the next command for each reply. */
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
    // By `call` it may have been written otherwise, and then ioredis throws at its answer.
    item.command.name = name.toLowerCase()
  }
  return Object.getPrototypeOf(this).push.call(this, item)
}

function shiftSilenced(): Item {
  return NOBODY
}

/**
 * The client is being ended. ioredis reads on: what came in one piece with the last reply it would still deal out, to
 * commands it does not belong to, and throw where its shape is not theirs. The commands that wait stay in the queue;
 * they are rejected as it is flushed.
 */
export function silence(client: RedisClient): void {
  const guard = guards.get(client.commandQueue)
  if (guard === undefined) return
  guard.isOver = true
  if (client.condition) (client.condition as { subscriber: unknown }).subscriber = false
  ;(client.commandQueue as Queue).shift = shiftSilenced
}
