import { PoolError, pointAtCaller } from '../../../api/errors.ts'
import { INSPECT, SHOWN_BRIEFLY } from '../client/brief.ts'
import { destroyClient, streamOf } from '../client/client.ts'
import { duplicateOf } from '../client/client-options.ts'
import type { Client, Command, Script } from '../client/client-types.ts'
import { closedError, neverSent } from '../client/lost-commands.ts'
import { hideInRejection, isSecret } from '../client/secrets.ts'
import { isPlain } from './command-effects.ts'
import { current, ended, type Handle, LOAN, type Loan } from './loan.ts'
import { bounded } from './pipelines.ts'
import { scanStreams } from './scan-streams.ts'

/**
 * Every command that reaches the server passes through here: commands, `call`, scripts, and pipelines when they
 * execute.
 */
export function sendCommand(this: Handle, command: Command, stream?: unknown, node?: unknown): unknown {
  const loan = this[LOAN]
  const { lender } = loan
  if (loan.ended) {
    command.reject(pointAtCaller(ended(loan, command.name), sendCommand))
    return command.promise
  }
  const { guard } = loan
  if (guard !== undefined) {
    // The commands of a pipeline have been looked at together, before the first was sent.
    const refusal = stream === undefined ? guard.refusal(command) : undefined
    if (refusal !== undefined) return notSent(command, refusal)
    guard.sent(command)
  }
  const plain = isPlain(command.name)
  if (!plain || loan.order !== undefined) {
    const conflict = lender.conflict(loan, command)
    if (conflict !== undefined) return refuse(lender, command, conflict, stream)
  }
  // Until its stream has closed, ioredis would blame `enableOfflineQueue`, which the pool has set.
  if (streamOf(lender.client)?.writable === false) {
    command.reject(closedError(neverSent(lender.context.name, command.name)))
    return command.promise
  }
  if (!plain) {
    if (isSecret(command.name)) hideInRejection(command)
    lender.record(loan, command)
  }
  if (lender.context.leftoverSites.wantsSenders) lender.recordSender(loan, command)
  return lender.client.sendCommand(command, stream, node)
}

/** Rejects a command whose answer ioredis could not recognise: see `ReplyOrder`. */
function refuse(
  { client, context }: Loan['lender'],
  command: Command,
  conflict: string,
  pipeline: unknown,
): Promise<unknown> {
  const name = String(command.name).toUpperCase()
  const message =
    `${name} was not sent: on a connection of pool '${context.name}', ioredis cannot match its answer behind ${conflict}. ` +
    'Await the answer of a subscription first, or use a separate client: duplicate()'
  notSent(command, new PoolError('POOL_COMMAND_REFUSED', message, { pool: context.name }))
  // A pipeline is written only when it has all its commands. Without this one, the others would stay in the queue for
  // ever.
  if (pipeline !== undefined) destroyClient(client)
  return command.promise
}

function notSent(command: Command, error: Error): Promise<unknown> {
  // Nothing was sent, so an ignored promise must not crash the process as an unhandled rejection.
  command.promise.catch(() => {})
  command.reject(error)
  return command.promise
}

/** Replaces `connect`: a pooled client is connected, or has ended and never connects again. */
function connect(this: Handle, callback?: (error: unknown) => void): Promise<never> {
  const { lender, ended: over } = this[LOAN]
  const message =
    lender.client.status === 'ready'
      ? 'Redis is already connecting/connected'
      : 'Connection is closed. A pooled connection is not opened again: end the loan, and take a new one'
  const { name } = lender.context
  const refused = Promise.reject(
    over ? ended(this[LOAN], 'connect') : new PoolError('POOL_COMMAND_REFUSED', message, { pool: name }),
  )
  if (typeof callback === 'function') refused.catch(callback)
  return refused
}

/**
 * Half-closes the connection as ioredis does, so that commands already sent still arrive. The pool does the rest when
 * the loan ends.
 */
function disconnect(this: Handle): void {
  const lender = current(this, 'disconnect')
  lender.fault ??= 'disconnect()'
  const stream = streamOf(lender.client)
  if (lender.client.status === 'end') return
  // On a socket that is already closed, ioredis would set a timer that nothing clears.
  if (stream === undefined || stream.destroyed) destroyClient(lender.client)
  else lender.client.disconnect()
}

function duplicate(this: Handle, override?: object): unknown {
  return duplicateOf(current(this, 'duplicate').client, override)
}

function defineCommand(this: Handle, name: string, definition: Script): void {
  current(this, 'defineCommand').definitions.define(this, name, definition)
}

function addBuiltinCommand(this: Handle, name: string): void {
  current(this, 'addBuiltinCommand').definitions.addBuiltin(this, name)
}

/** Methods that work as usual, but are refused after the end of the loan. Removing a listener stays allowed. */
const GUARDED = ['on', 'addListener', 'once', 'prependListener', 'prependOnceListener', 'monitor'] as const

/** Fields through which a stale handle could reach the connection of the next borrower. */
const FIELDS = ['stream', 'condition', 'commandQueue', 'offlineQueue', 'connector'] as const

/**
 * Fields of a client that its handles do not have: what the pool put there, and the listeners, as a handle starts with
 * none.
 */
const NOT_SHARED: ReadonlySet<unknown> = new Set([
  'emit',
  'info',
  'flushQueue',
  'listeners',
  'handleReconnection',
  'toJSON',
  INSPECT,
  '_events',
  '_eventsCount',
])

const often: ThisType<Handle> = {
  get options() {
    return this[LOAN].lender.client.options
  },
  get isCluster() {
    return this[LOAN].lender.client.isCluster
  },
  get scriptsSet() {
    return this[LOAN].lender.client.scriptsSet
  },
  get addedBuiltinSet() {
    return this[LOAN].lender.client.addedBuiltinSet
  },
  get stream() {
    return current(this, 'stream').client.stream
  },
}
/** Members that ioredis reads for each command or pipeline. Each has a separate getter, which V8 can inline. */
const OFTEN_READ: Readonly<Record<PropertyKey, PropertyDescriptor>> = Object.getOwnPropertyDescriptors(often)

const status: PropertyDescriptor = {
  get(this: Handle): string {
    const { ended: over, lender } = this[LOAN]
    return over ? 'end' : lender.client.status
  },
}

export type HandleClass = new (loan: Loan) => Handle

/** The handle classes for the clients of one prototype, by the fields that those clients have. */
const made = new WeakMap<object, { readonly keys: readonly PropertyKey[]; readonly Handle: HandleClass }[]>()

/**
 * At most this many classes are kept per prototype. Clients differ in their fields by what `prepare` defines on them.
 */
const MOST_CLASSES = 20

/**
 * Returns the class of a client's handles. All clients with the same fields share one class. Its prototype inherits
 * from the clients' prototype and reads their fields through the loan. A handle does not inherit from the client
 * itself: V8 gives every object that others inherit from a hidden class of its own, so ioredis's code would have to
 * handle one hidden class per connection. That costs up to a tenth of the CPU time of a transaction.
 */
export function handleClass(client: Client): HandleClass {
  const prototype: object = Object.getPrototypeOf(client)
  const keys = Reflect.ownKeys(client).filter(key => !NOT_SHARED.has(key))
  const known = made.get(prototype) ?? []
  made.set(prototype, known)
  const same = known.find(
    other => other.keys.length === keys.length && keys.every((key, at) => key === other.keys[at]),
  )
  if (same !== undefined) return same.Handle
  if (known.length >= MOST_CLASSES) known.shift()
  const Handle = newClass(prototype, keys)
  known.push({ keys, Handle })
  return Handle
}

function newClass(prototype: object, keys: readonly PropertyKey[]): HandleClass {
  function Handle(this: { [LOAN]: Loan }, loan: Loan): void {
    this[LOAN] = loan
  }
  const fields = Object.fromEntries(keys.map(key => [key, field(key)]))
  Handle.prototype = Object.create(prototype, {
    ...fields,
    ...SHOWN_BRIEFLY,
    sendCommand: member(sendCommand),
    connect: member(connect),
    disconnect: member(disconnect),
    end: member(disconnect),
    duplicate: member(duplicate),
    defineCommand: member(defineCommand),
    addBuiltinCommand: member(addBuiltinCommand),
    pipeline: member(bounded(prototype, 'pipeline')),
    multi: member(bounded(prototype, 'multi')),
    createScanStream: member(scanStreams(prototype)),
    _events: member(undefined),
    _eventsCount: member(0),
    // A promise looks for it each time it gives somebody the handle, and would search the long prototypes of ioredis.
    // biome-ignore lint/suspicious/noThenProperty: it says that a handle is none
    then: member(undefined),
    status,
    ...Object.fromEntries(GUARDED.map(name => [name, member(guarded(prototype, name))])),
    ...Object.fromEntries(FIELDS.map(name => [name, { get: OFTEN_READ[name]?.get ?? fieldGetter(name) }])),
  })
  // A `class` would define `constructor`, by which libraries tell a client from a cluster.
  return Handle as unknown as HandleClass
}

/** Reads the field of the client. A value that a borrower sets stays on the handle. */
function field(key: PropertyKey): PropertyDescriptor {
  return {
    get:
      OFTEN_READ[key]?.get ??
      function (this: Handle): unknown {
        return Reflect.get(this[LOAN].lender.client, key)
      },
    set(this: Handle, value: unknown): void {
      Object.defineProperty(this, key, { value, writable: true, enumerable: true, configurable: true })
    },
    enumerable: true,
    configurable: true,
  }
}

const member = (value: unknown): PropertyDescriptor => ({ value, writable: true, configurable: true })

function guarded(prototype: object, name: string): unknown {
  const original = Reflect.get(prototype, name) as (...args: unknown[]) => unknown
  return function (this: Handle, ...args: unknown[]): unknown {
    current(this, name)
    return Reflect.apply(original, this, args)
  }
}

function fieldGetter(name: (typeof FIELDS)[number]) {
  return function (this: Handle): unknown {
    return Reflect.get(current(this, name).client, name)
  }
}

/**
 * Makes events of the client reach the listeners of the handle that is lent at that moment, too. Listeners live on the
 * handle: a borrower cannot remove those of the pool, and a borrower's listeners end with the loan.
 */
export function shareEvents(client: Client, lent: () => Handle | undefined): void {
  const { emit, listeners } = client
  Object.defineProperties(client, {
    emit: member((event: string, ...args: unknown[]): boolean => {
      const heard = emit.call(client, event, ...args)
      const handle = lent()
      if (handle === undefined || handle.listenerCount(event) === 0) return heard
      return emit.call(handle, event, ...args)
    }),
    // ioredis calls this to find out whether anybody wants a message.
    listeners: member((event: string): unknown[] => {
      const handle = lent()
      const found = listeners.call(client, event)
      return handle === undefined ? found : [...found, ...listeners.call(handle, event)]
    }),
  })
}
