import type { Command, CommandQueue, RedisClient } from './client-types.ts'

interface Item {
  readonly command: Command
}

interface Queue extends CommandQueue {
  shift(): Item | undefined
}

type Internals = { flushQueue?(...args: unknown[]): void }

/** Receives a reply that matches no command. */
const NOBODY: Item = {
  command: { name: 'ping', args: [''], resolve() {}, reject() {}, promise: Promise.resolve() },
}

const clients = new WeakMap<CommandQueue, RedisClient>()

/**
 * Replaces `shift` of the client's command queue, from which ioredis takes the next command for each reply. If the
 * queue is empty, ioredis would turn the reply into an error. If the reply is null, it would throw inside the socket's
 * event or in a tick of its own, where nobody could catch the error. Here the reply is discarded and the client emits
 * `error`.
 *
 * Call it once the client is connected: until then ioredis replaces the queue.
 */
export function guardReplies(client: RedisClient): void {
  const queue = client.commandQueue as Queue
  const internals = client as Internals
  const { flushQueue } = internals
  if (Object.hasOwn(queue, 'shift') || flushQueue === undefined) return
  clients.set(queue, client)
  queue.shift = shiftGuarded
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

function shiftGuarded(this: Queue): Item {
  const item = Object.getPrototypeOf(this).shift.call(this)
  if (item !== undefined) return item
  const client = clients.get(this) as RedisClient & { emit(event: 'error', error: Error): boolean }
  // This ends the client, see `onFault`. Replies that follow in the same chunk are discarded by `silence`.
  client.emit('error', new Error('Command queue state error: the server sent a reply that nobody asked for'))
  return NOBODY
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
  if (!clients.has(client.commandQueue)) return
  if (client.condition) (client.condition as { subscriber: unknown }).subscriber = false
  ;(client.commandQueue as Queue).shift = shiftSilenced
}
