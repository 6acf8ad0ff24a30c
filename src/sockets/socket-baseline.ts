import type { Socket } from 'node:net'
import { rawOf } from './socket-state.ts'

type Listener = (...args: unknown[]) => void
type Settings = readonly (readonly [symbol, unknown])[]

/** What is private to Node, and read because the way by its public functions takes ten times as long. */
interface Innards {
  readonly _events?: Readonly<Record<string | symbol, Listener | Listener[] | undefined>>
  readonly _eventsCount?: number
  readonly _handle?: { hasRef?(): boolean } | null
  readonly _writableState?: { defaultEncoding?: BufferEncoding }
  readonly [setting: symbol]: unknown
}

/**
 * What a socket was like when its connection was made, so that what a borrower does to it reaches nobody else. It is
 * compared at the end of each loan, in about 0.1 µs, and put back where it differs.
 *
 * A socket that is lent as it is has its listeners, methods and settings put back as they were. One that belongs to a
 * client has listeners that come and go, which only the client knows; there it is seen whether they are all gone.
 */
export class SocketBaseline {
  readonly #socket: Socket
  readonly #lentRaw: boolean
  /** Listeners of each event, those of `once` in their wrappers. */
  readonly #events: ReadonlyMap<string | symbol, readonly unknown[]>
  readonly #names: readonly (string | symbol)[]
  readonly #count: number | undefined
  readonly #isRead: boolean
  readonly #isClosedHeard: boolean
  readonly #functions: ReadonlyMap<string, unknown>
  #keys: number
  #settings: Settings
  readonly #timeout: number
  readonly #encoding: BufferEncoding | null
  readonly #defaultEncoding: BufferEncoding | undefined
  readonly #mostListeners: number
  readonly #allowHalfOpen: boolean
  readonly #isReferenced: boolean
  readonly #flows: boolean

  constructor(socket: Socket, lentRaw: boolean) {
    const innards = socket as unknown as Innards
    this.#socket = socket
    this.#lentRaw = lentRaw
    const names = lentRaw ? socket.eventNames() : []
    this.#names = names.filter(name => socket.rawListeners(name as string).length > 0)
    this.#events = new Map(this.#names.map(name => [name, socket.rawListeners(name as string)]))
    this.#count = typeof innards._events === 'object' ? innards._eventsCount : undefined
    this.#isRead = isRead(socket)
    this.#isClosedHeard = socket.listenerCount('close') > 0
    this.#functions = ownFunctions(socket)
    this.#keys = Object.keys(socket).length
    this.#settings = settingsOf(socket)
    this.#timeout = socket.timeout ?? 0
    this.#encoding = socket.readableEncoding
    this.#defaultEncoding = innards._writableState?.defaultEncoding
    this.#mostListeners = socket.getMaxListeners()
    this.#allowHalfOpen = socket.allowHalfOpen
    this.#isReferenced = innards._handle?.hasRef?.() ?? true
    this.#flows = socket.readableFlowing === true
  }

  /**
   * Puts back what differs. May throw: the socket may be the user's own.
   * @returns what cannot be put back
   */
  restore(): string | undefined {
    const socket = this.#socket
    const lost = this.#lentRaw ? this.#restoreRaw() : this.#restoreClients()
    if (lost !== undefined) return lost
    if ((socket.timeout ?? 0) !== this.#timeout) socket.setTimeout(this.#timeout)
    if (socket.allowHalfOpen !== this.#allowHalfOpen) socket.allowHalfOpen = this.#allowHalfOpen
    this.#restoreReference()
    return this.#restoreSettings()
  }

  #restoreClients(): string | undefined {
    const socket = this.#socket
    if ((this.#isRead && !isRead(socket)) || (this.#isClosedHeard && socket.listenerCount('close') === 0))
      return 'its borrower has removed the listeners of its client'
    if (this.#flows && socket.readableFlowing === false) socket.resume()
    return undefined
  }

  #restoreRaw(): string | undefined {
    const socket = this.#socket
    if (socket.readableEncoding !== this.#encoding)
      return 'its borrower has set an encoding, which cannot be undone'
    if (socket.writableCorked > 0) return 'it came back corked'
    const { defaultEncoding } = (socket as unknown as Innards)._writableState ?? {}
    // First, as what follows calls methods.
    if (Object.keys(socket).length !== this.#keys || this.#hasOtherFunctions()) this.#restoreFunctions()
    if (this.#hasOtherListeners()) this.#restoreListeners()
    if (socket.getMaxListeners() !== this.#mostListeners) socket.setMaxListeners(this.#mostListeners)
    if (defaultEncoding !== this.#defaultEncoding && this.#defaultEncoding !== undefined)
      socket.setDefaultEncoding(this.#defaultEncoding)
    return undefined
  }

  #hasOtherFunctions(): boolean {
    for (const [name, own] of this.#functions)
      if ((this.#socket as unknown as Record<string, unknown>)[name] !== own) return true
    return false
  }

  #restoreFunctions(): void {
    const socket = this.#socket as unknown as Record<string, unknown>
    for (const name of ownFunctions(this.#socket).keys()) if (!this.#functions.has(name)) delete socket[name]
    for (const [name, own] of this.#functions) if (socket[name] !== own) socket[name] = own
    // Others are Node's, which adds some late, or notes of a borrower that bind nobody.
    this.#keys = Object.keys(socket).length
  }

  #hasOtherListeners(): boolean {
    const { _events: events, _eventsCount: count } = this.#socket as unknown as Innards
    if (events === undefined || this.#count === undefined) return true
    if (count !== this.#count) return true
    for (const name of this.#names) {
      const now = events[name]
      const before = this.#events.get(name) as readonly unknown[]
      if (typeof now === 'function' ? before.length !== 1 || before[0] !== now : !isSame(now, before))
        return true
    }
    return false
  }

  #restoreListeners(): void {
    const socket = this.#socket
    socket.unpipe()
    // First, as it would be told of the others.
    socket.removeAllListeners('removeListener')
    for (const name of socket.eventNames()) {
      if (!isSame(socket.rawListeners(name as string), this.#events.get(name) ?? []))
        socket.removeAllListeners(name as string)
    }
    for (const [name, listeners] of this.#events) {
      if (socket.listenerCount(name as string) > 0) continue
      for (const listener of listeners) socket.on(name as string, listener as Listener)
    }
  }

  /** With `unref()` left behind, the process would end while the next borrower awaits its answer. */
  #restoreReference(): void {
    const { _handle: handle } = this.#socket as unknown as Innards
    if (handle === null || handle === undefined) return
    // A TLS socket does not tell.
    const isReferenced = handle.hasRef?.()
    if (isReferenced === this.#isReferenced) return
    if (this.#isReferenced) this.#socket.ref()
    else if (isReferenced) this.#socket.unref()
  }

  #restoreSettings(): string | undefined {
    const socket = this.#socket
    let differs = false
    for (const [setting, value] of this.#settings)
      if ((socket as unknown as Innards)[setting] !== value) differs = true
    if (!differs) return undefined
    // A TLS socket knows only what has been set by way of it; the one under it, what was set when it was made.
    const raw = rawOf(socket)
    const known = raw === socket ? this.#settings : settingsOf(raw)
    const made = new Map(known.map(([{ description }, value]) => [description, value]))
    for (const [setting, value] of this.#settings) {
      if ((socket as unknown as Innards)[setting] === value) continue
      if (setting.description === 'kSetNoDelay') socket.setNoDelay(made.get('kSetNoDelay') === true)
      else if (setting.description?.startsWith('kSetKeepAlive')) {
        const delay = Number(made.get('kSetKeepAliveInitialDelay') ?? 0) * 1000
        socket.setKeepAlive(made.get('kSetKeepAlive') === true, delay)
      } else return `its borrower has changed ${setting.description}, which cannot be undone`
    }
    this.#settings = settingsOf(socket)
    return undefined
  }
}

/** Does anybody read what arrives? */
const isRead = (socket: Socket): boolean =>
  socket.listenerCount('data') > 0 || socket.listenerCount('readable') > 0

function isSame(some: readonly unknown[] | undefined, others: readonly unknown[]): boolean {
  if (some === undefined || some.length !== others.length) return false
  for (let index = 0; index < others.length; index += 1) if (some[index] !== others[index]) return false
  return true
}

function ownFunctions(socket: Socket): Map<string, unknown> {
  const found = new Map<string, unknown>()
  for (const name of Object.keys(socket)) {
    const value: unknown = Object.getOwnPropertyDescriptor(socket, name)?.value
    if (typeof value === 'function') found.set(name, value)
  }
  return found
}

/** What was set by `setNoDelay` and the like, which Node notes under symbols of these names, so as not to set it twice. */
const settingsOf = (socket: Socket): Settings =>
  Object.getOwnPropertySymbols(socket)
    .filter(({ description }) => description?.startsWith('kSet'))
    .map(setting => [setting, (socket as unknown as Innards)[setting]] as const)
