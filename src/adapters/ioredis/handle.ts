import { type RedisClient, sever, streamOf } from './client.ts'
import { isPlain } from './commands.ts'
import type { Definitions, Script } from './definitions.ts'
import { duplicateOf } from './options.ts'
import type { PoolSide } from './side.ts'
import type { Command } from './trail.ts'

/** The members of a client that handles put something in front of, beside those of {@link RedisClient}. */
export interface Client extends RedisClient {
  sendCommand(command: Command, stream?: unknown, node?: unknown): unknown
  defineCommand(name: string, definition: Script): void
  addBuiltinCommand(name: string): void
  emit(event: string | symbol, ...args: unknown[]): boolean
  listeners(event: string | symbol): unknown[]
  listenerCount(event: string | symbol): number
  readonly scriptsSet: Record<string, unknown>
  readonly addedBuiltinSet: Set<string>
}

/** What a handle needs to know of its loan. */
export interface Loan {
  readonly face: LenderOf
  readonly ended: boolean
  /** There once a command was sent behind which not every other may follow. */
  readonly order: unknown
}

/** What the handles of one client share. */
interface LenderOf {
  readonly client: Client
  readonly side: PoolSide
  readonly definitions: Definitions
  /** Why the connection must not be lent again, beside what its borrower sent. */
  fault: string | undefined
  /** @returns behind what of this loan the command must not be sent, if so */
  conflict(loan: Loan, command: Command): string | undefined
  /** A command that may leave something behind is about to be sent. */
  note(loan: Loan, command: Command): void
  /** A command is about to be sent, in a pool where answers have been left outstanding. */
  noteSender(loan: Loan, command: Command): void
}

/** In a field of each handle; whatever inherits from a handle shares its loan. */
export const LOAN: unique symbol = Symbol('loan')

/** What a borrower has: it inherits all of the client, and keeps to itself what the borrower sets or listens to. */
export interface Handle extends Client {
  readonly [LOAN]: Loan
}

const ended = ({ face }: Loan, what: string) => face.side.leaseEnded(`redis.${what} was used`)

/** @throws PoolError `POOL_LEASE_ENDED` */
function current(handle: Handle, what: string): LenderOf {
  const loan = handle[LOAN]
  if (loan.ended) throw ended(loan, what)
  return loan.face
}

/** Everything that reaches the server comes by here: commands, `call`, scripts, and pipelines as they are executed. */
export function sendCommand(this: Handle, command: Command, stream?: unknown, node?: unknown): unknown {
  const loan = this[LOAN]
  const { face } = loan
  if (loan.ended) {
    command.reject(ended(loan, command.name))
    return command.promise
  }
  const plain = isPlain(command.name)
  if (!plain || loan.order !== undefined) {
    const conflict = face.conflict(loan, command)
    if (conflict !== undefined) return refuse(face.client, command, conflict, stream)
  }
  if (!plain) face.note(loan, command)
  if (face.side.offences.wantsSenders) face.noteSender(loan, command)
  return face.client.sendCommand(command, stream, node)
}

/** Does not send what ioredis could not tell the answer of: see {@link Order}. */
function refuse(client: Client, command: Command, conflict: string, pipeline: unknown): Promise<unknown> {
  // Nobody may have waited for it, and nothing has happened: that is no reason to end the process.
  command.promise.catch(() => {})
  const name = String(command.name).toUpperCase()
  command.reject(
    new Error(
      `${name} was not sent: ioredis cannot tell its answer from others behind ${conflict}. ` +
        'Wait for the answer of a subscription, or take a connection of your own: duplicate()',
    ),
  )
  // A pipeline is written once it has all of its commands, so the others would wait in the queue for ever.
  if (pipeline !== undefined) sever(client)
  return command.promise
}

/** A pooled client is connected, or has come to its end: it never connects again. */
function connect(this: Handle, callback?: (error: unknown) => void): Promise<never> {
  const { face, ended: over } = this[LOAN]
  const message =
    face.client.status === 'ready'
      ? 'Redis is already connecting/connected'
      : 'Connection is closed. A pooled connection is not opened again: end the loan, and take a new one'
  const refused = Promise.reject(over ? ended(this[LOAN], 'connect') : new Error(message))
  if (typeof callback === 'function') refused.catch(callback)
  return refused
}

/** As ioredis does it, half-closing so that what has been sent still arrives; the rest is done when the loan ends. */
function disconnect(this: Handle): void {
  const face = current(this, 'disconnect')
  face.fault ??= 'disconnect()'
  const stream = streamOf(face.client)
  if (face.client.status === 'end') return
  // On a socket that is closed already, ioredis would set a timer that nothing clears.
  if (stream === undefined || stream.destroyed) sever(face.client)
  else face.client.disconnect()
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

/** Methods that do as ever, but not after the end of the loan. Those that only take a listener away may. */
const GUARDED = ['on', 'addListener', 'once', 'prependListener', 'prependOnceListener', 'monitor'] as const

/** Fields by which a stale handle could reach the connection of the next borrower. */
const FIELDS = ['stream', 'condition', 'commandQueue', 'offlineQueue', 'connector'] as const

const status: PropertyDescriptor = {
  get(this: Handle): string {
    const { ended: over, face } = this[LOAN]
    return over ? 'end' : face.client.status
  },
}

/**
 * What makes the handles of a client. All that they have in common is prepared in their prototype, which inherits from
 * the client, so that a loan costs no more than a small object.
 */
export function handleClass(client: Client): new (loan: Loan) => Handle {
  function Handle(this: { [LOAN]: Loan }, loan: Loan): void {
    this[LOAN] = loan
  }
  Handle.prototype = Object.create(client, {
    sendCommand: member(sendCommand),
    connect: member(connect),
    disconnect: member(disconnect),
    end: member(disconnect),
    duplicate: member(duplicate),
    defineCommand: member(defineCommand),
    addBuiltinCommand: member(addBuiltinCommand),
    // A handle has listeners of its own, which begin with none.
    emit: member(client.emit),
    listeners: member(client.listeners),
    _events: member(undefined),
    _eventsCount: member(0),
    status,
    ...Object.fromEntries(GUARDED.map(name => [name, member(guarded(client, name))])),
    ...Object.fromEntries(FIELDS.map(name => [name, { get: fieldGetter(name) }])),
  })
  // `class` would bring a `constructor` along, by which libraries tell a client from a cluster.
  return Handle as unknown as new (
    loan: Loan,
  ) => Handle
}

const member = (value: unknown): PropertyDescriptor => ({ value, writable: true, configurable: true })

function guarded(client: Client, name: string): unknown {
  const original = Reflect.get(client, name) as (...args: unknown[]) => unknown
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
 * Lets events of the client reach the listeners of the handle that is lent at that moment, too. They live on the
 * handle: a borrower cannot remove those of the pool, and his own end with his loan.
 */
export function shareEvents(client: Client, lent: () => Handle | undefined): void {
  const { emit, listeners } = client
  Object.defineProperties(client, {
    emit: member((event: string, ...args: unknown[]): boolean => {
      const heard = emit.call(client, event, ...args)
      const handle = lent()
      if (handle === undefined || handle.listenerCount(event) === 0) return heard
      return emit.call(handle, event, ...args) || heard
    }),
    // ioredis asks it whether anybody wants a message.
    listeners: member((event: string): unknown[] => {
      const handle = lent()
      const found = listeners.call(client, event)
      return handle === undefined ? found : [...found, ...listeners.call(handle, event)]
    }),
  })
}
