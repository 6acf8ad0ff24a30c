import type { Command, CommandQueue, RedisClient } from './client-types.ts'

interface Item {
  readonly command: Command
}

interface Queue extends CommandQueue {
  shift(): Item | undefined
}

type Internals = { flushQueue?(...args: unknown[]): void }

/** Takes a reply that nobody is to have. */
const NOBODY: Item = {
  command: { name: 'ping', args: [''], resolve() {}, reject() {}, promise: Promise.resolve() },
}

const clients = new WeakMap<CommandQueue, RedisClient>()

/**
 * Stands between ioredis and its queue of commands. ioredis takes the next command from it for each reply; where there
 * is none it makes an error out of the reply, and throws where the reply is a null: out of the socket's event, or out of
 * a tick of its own, where nobody could catch that. Here the reply goes to nobody, and the client gets an `error`.
 *
 * To be called once the client is connected: until then it gets a new queue.
 */
export function guardReplies(client: RedisClient): void {
  const queue = client.commandQueue as Queue
  const internals = client as Internals
  const { flushQueue } = internals
  if (Object.hasOwn(queue, 'shift') || flushQueue === undefined) return
  clients.set(queue, client)
  queue.shift = shiftGuarded
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

function shiftGuarded(this: Queue): Item {
  const item = Object.getPrototypeOf(this).shift.call(this)
  if (item !== undefined) return item
  const client = clients.get(this) as RedisClient & { emit(event: 'error', error: Error): boolean }
  // Ends the client: see `onFault`. What still comes in this piece is silenced.
  client.emit('error', new Error('Command queue state error: the server sent a reply that nobody asked for'))
  return NOBODY
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
  if (!clients.has(client.commandQueue)) return
  if (client.condition) (client.condition as { subscriber: unknown }).subscriber = false
  ;(client.commandQueue as Queue).shift = shiftSilenced
}
