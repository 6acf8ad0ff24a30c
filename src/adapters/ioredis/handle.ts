import type { Leftover } from '../../handles.ts'
import { leaseEnded } from '../../refusals.ts'
import { type RedisClient, sever, streamOf } from './client.ts'
import { isPlain } from './commands.ts'
import { duplicateOf } from './options.ts'
import type { PoolSide } from './side.ts'
import { type Command, Trail } from './trail.ts'

const LOAN = Symbol('loan')

/** The methods of a client that handles put something in front of, beside those of {@link RedisClient}. */
interface Client extends RedisClient {
  sendCommand(command: Command, stream?: unknown, node?: unknown): unknown
  defineCommand(name: string, definition: Script): void
  addBuiltinCommand(name: string): void
  duplicate(override?: object): unknown
  monitor(...args: unknown[]): unknown
  emit(event: string | symbol, ...args: unknown[]): boolean
  listeners(event: string | symbol): unknown[]
  listenerCount(event: string | symbol): number
  readonly scriptsSet: Record<string, unknown>
  readonly addedBuiltinSet: Set<string>
}

interface Script {
  readonly lua?: unknown
  readonly numberOfKeys?: unknown
  readonly readOnly?: unknown
}

/** What a borrower has: it inherits all of the client, and keeps to itself what the borrower sets or listens to. */
interface Handle extends Client {
  readonly [LOAN]: Loan
}

/** One loan of one client. */
class Loan {
  readonly face: Face
  readonly handle: Handle
  ended = false
  /** There once a command was sent that may leave something behind. */
  trail: Trail | undefined
  /** Where it may have been done, by what it is. */
  stacks: Map<string, string> | undefined

  constructor(face: Face) {
    this.face = face
    this.handle = new face.Handle(this)
  }
}

/** The side of a client that borrowers see: what its handles have in common, made once. */
export class Face {
  readonly client: Client
  readonly side: PoolSide
  readonly Handle: new (
    loan: Loan,
  ) => Handle
  /** Scripts that borrowers have defined, so that the next one to define the same need not send its text again. */
  readonly scripts = new Map<string, { definition: Script; own: Record<string, unknown>; script: unknown }>()
  /** Why the connection must not be lent again, beside what its borrower did. */
  fault: string | undefined
  readonly #home: number
  #current: Loan | undefined

  constructor(given: RedisClient, side: PoolSide) {
    const client = given as Client
    this.client = client
    this.side = side
    this.#home = Number((client.options as { db?: unknown }).db ?? 0)
    this.Handle = handleClass(client)
    this.#shareEvents()
  }

  lend(): Handle {
    const loan = new Loan(this)
    this.#current = loan
    return loan.handle
  }

  unlend(handle: RedisClient): Leftover | undefined {
    const loan = (handle as Handle)[LOAN]
    loan.ended = true
    this.#current = undefined
    const { client } = this
    const pending = client.commandQueue.length
    if (
      pending === 0 &&
      loan.trail === undefined &&
      this.fault === undefined &&
      !client.condition?.subscriber
    ) {
      return undefined
    }
    return this.#judge(loan, pending)
  }

  /** A command that may leave something behind is about to be sent. */
  note(loan: Loan, command: Command): void {
    loan.trail ??= new Trail(this.#home, this.side.options.cleanCommands)
    const suspicion = loan.trail.sent(command)
    if (suspicion === undefined) return
    const stack = this.side.offences.suspect(suspicion, sendCommand)
    if (stack === undefined) return
    loan.stacks ??= new Map()
    loan.stacks.set(suspicion, stack)
  }

  #judge(loan: Loan, pending: number): Leftover | undefined {
    const { offences } = this.side
    const { dirt = [], watching = false, elsewhere = false } = loan.trail?.left() ?? {}
    const left = [...dirt]
    for (const what of left) offences.committed(what, loan.stacks?.get(what))
    if (pending > 0) {
      const names = this.#pendingNames(pending)
      const what = `${names[0]} without an answer`
      offences.committed(what, offences.suspect(what, this.unlend))
      left.push(`${pending} without an answer (${names.join(', ')})`)
    } else if (left.length === 0 && this.client.condition?.subscriber) left.push('SUBSCRIBE')
    if (this.fault !== undefined) left.push(this.fault)
    if (left.length > 0) {
      return { detail: `left behind: ${[...left, ...(watching ? ['WATCH'] : [])].join(', ')}` }
    }
    const { select } = this.client.condition as { select?: unknown }
    const moved = elsewhere || Number(select ?? 0) !== this.#home
    return watching || moved ? this.#undo(watching, moved) : undefined
  }

  /**
   * One round trip instead of a new connection, with its handshake of three or more. Nobody else has the connection
   * meanwhile, and only the answer OK to each step counts.
   */
  #undo(watching: boolean, moved: boolean): Leftover {
    const client = this.client as unknown as {
      unwatch(): Promise<unknown>
      select(db: number): Promise<unknown>
    }
    const detail = `left behind: ${[...(watching ? ['WATCH'] : []), ...(moved ? ['SELECT'] : [])].join(', ')}`
    const undo = async (): Promise<void> => {
      const steps = [...(watching ? [client.unwatch()] : []), ...(moved ? [client.select(this.#home)] : [])]
      for (const reply of await Promise.all(steps)) {
        if (String(reply) !== 'OK') throw new Error(`the server answered ${String(reply)}`)
      }
    }
    return { detail, undo }
  }

  #pendingNames(pending: number): string[] {
    const names = new Set<string>()
    for (let index = 0; index < Math.min(pending, 3); index += 1) {
      const item = this.client.commandQueue.peekAt(index) as { command?: { name?: unknown } }
      names.add(String(item.command?.name).toUpperCase().slice(0, 40))
    }
    return [...names]
  }

  /**
   * Events of the client also reach the listeners of the handle that is lent at that moment. They live on the handle:
   * the borrower cannot remove those of the pool, and his end with his loan. ioredis asks `listeners` whether anybody
   * wants a message.
   */
  #shareEvents(): void {
    const { client } = this
    const { emit, listeners } = client
    const own = (value: unknown) => ({ value, writable: true, configurable: true })
    Object.defineProperties(client, {
      emit: own((event: string, ...args: unknown[]): boolean => {
        const heard = emit.call(client, event, ...args)
        const handle = this.#current?.handle
        if (handle === undefined || handle.listenerCount(event) === 0) return heard
        return emit.call(handle, event, ...args) || heard
      }),
      listeners: own((event: string): unknown[] => {
        const handle = this.#current?.handle
        const found = listeners.call(client, event)
        return handle === undefined ? found : [...found, ...listeners.call(handle, event)]
      }),
    })
  }
}

/** The face of the loan, which must not have ended. */
function current(handle: Handle, what: string): Face {
  const loan = handle[LOAN]
  if (loan.ended) throw ended(loan, what)
  return loan.face
}

const ended = ({ face }: Loan, what: string) => leaseEnded(face.side.name, `redis.${what} was used`)

function sendCommand(this: Handle, command: Command, stream?: unknown, node?: unknown): unknown {
  const loan = this[LOAN]
  if (loan.ended) {
    command.reject(ended(loan, command.name))
    return command.promise
  }
  if (!isPlain(command.name)) loan.face.note(loan, command)
  return loan.face.client.sendCommand(command, stream, node)
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

/** A command that a borrower defines is his own: the next one may have another of the same name. */
function defineCommand(this: Handle, name: string, definition: Script): void {
  const face = current(this, 'defineCommand')
  if (!Object.hasOwn(this, 'scriptsSet')) own(this, 'scriptsSet', { ...face.client.scriptsSet })
  const buffered = `${name}Buffer`
  const known = face.scripts.get(name)
  if (known !== undefined && isSame(known.definition, definition)) {
    this.scriptsSet[name] = known.script
    Object.assign(this, known.own)
    return
  }
  face.client.defineCommand.call(this, name, definition)
  const { [name]: plain, [buffered]: raw } = this as unknown as Record<string, unknown>
  if (face.scripts.size >= MOST_SCRIPTS) face.scripts.clear()
  face.scripts.set(name, {
    definition: { ...definition },
    own: { [name]: plain, [buffered]: raw },
    script: this.scriptsSet[name],
  })
}

const MOST_SCRIPTS = 500

const isSame = (a: Script, b: Script): boolean =>
  a.lua === b.lua && a.numberOfKeys === b.numberOfKeys && a.readOnly === b.readOnly

function addBuiltinCommand(this: Handle, name: string): void {
  const face = current(this, 'addBuiltinCommand')
  if (!Object.hasOwn(this, 'addedBuiltinSet'))
    own(this, 'addedBuiltinSet', new Set(face.client.addedBuiltinSet))
  face.client.addBuiltinCommand.call(this, name)
}

function own(handle: Handle, name: string, value: unknown): void {
  Object.defineProperty(handle, name, { value, writable: true, configurable: true })
}

/** Methods that do as ever, but not after the end of the loan. Those that only take a listener away may. */
const GUARDED = ['on', 'addListener', 'once', 'prependListener', 'prependOnceListener', 'monitor'] as const

/** Fields by which a stale handle could reach the connection of the next borrower. */
const FIELDS = ['stream', 'condition', 'commandQueue', 'offlineQueue', 'connector'] as const

/** What makes the handles of a client: a loan costs no more than two small objects. */
function handleClass(client: Client): new (loan: Loan) => Handle {
  function Handle(this: { [LOAN]: Loan }, loan: Loan): void {
    this[LOAN] = loan
  }
  const method = (value: unknown): PropertyDescriptor => ({ value, writable: true, configurable: true })
  Handle.prototype = Object.create(client, {
    sendCommand: method(sendCommand),
    connect: method(connect),
    disconnect: method(disconnect),
    end: method(disconnect),
    duplicate: method(duplicate),
    defineCommand: method(defineCommand),
    addBuiltinCommand: method(addBuiltinCommand),
    // As they were before they were shared: a handle's are about its own listeners.
    emit: method(client.emit),
    listeners: method(client.listeners),
    _events: method(undefined),
    _eventsCount: method(0),
    status: {
      get(this: Handle): string {
        const { ended: over, face } = this[LOAN]
        return over ? 'end' : face.client.status
      },
    },
    ...Object.fromEntries(GUARDED.map(name => [name, method(guarded(client, name))])),
    ...Object.fromEntries(FIELDS.map(name => [name, { get: fieldGetter(name) }])),
  })
  return Handle as unknown as new (
    loan: Loan,
  ) => Handle
}

function guarded(client: Client, name: string): unknown {
  const original: unknown = Reflect.get(client, name)
  if (typeof original !== 'function') return original
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
