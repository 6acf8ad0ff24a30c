import type { Socket } from 'node:net'
import { connectionCommands } from './connection-commands.ts'
import { type Command, dataCommands } from './data-commands.ts'
import { CommandParser, encode, Failure, NULL_ARRAY, type Reply, Status } from './resp.ts'
import type { Store, Watcher } from './store.ts'

/** What the sessions of one server share. */
export interface ServerState {
  readonly store: Store
  readonly password: string | undefined
  readonly sessions: Set<Session>
  /** Sessions waiting in BLPOP, the longest first. */
  readonly blocked: Set<Session>
}

const commands = new Map<string, Command>(Object.entries({ ...dataCommands, ...connectionCommands }))
const beforeAuth = new Set(['auth', 'hello', 'quit'])
/** Executed inside MULTI instead of being queued. */
const immediate = new Set(['exec', 'discard', 'multi', 'watch', 'quit'])

interface Queued {
  command: Command
  args: string[]
}

/** One connection: its input, its transaction, what it watches and whether it is blocked. */
export class Session implements Watcher {
  readonly connectedAt = Date.now()
  readonly address: string
  readonly localAddress: string
  lastCommandAt = this.connectedAt
  lastCommand = 'NULL'
  name = ''
  db = 0
  protocol: 2 | 3 = 2
  authenticated: boolean
  /** The queued commands between MULTI and EXEC. */
  transaction: Queued[] | undefined
  readonly id: number
  readonly server: ServerState
  private readonly socket: Socket
  private readonly parser = new CommandParser()
  private readonly input: string[][] = []
  private watched: [number, string][] = []
  private watchBroken = false
  private transactionBroken = false
  private executing = false
  private ended = false
  private blockedOn: { db: number; keys: string[]; timer: NodeJS.Timeout | undefined } | undefined

  constructor(id: number, server: ServerState, socket: Socket) {
    this.id = id
    this.server = server
    this.socket = socket
    this.authenticated = server.password === undefined
    this.address = `${socket.remoteAddress}:${socket.remotePort}`
    this.localAddress = `${socket.localAddress}:${socket.localPort}`
    server.sessions.add(this)
    socket.setNoDelay(true)
    socket.on('data', chunk => this.receive(chunk))
    socket.on('error', () => {})
    socket.on('close', () => this.forget())
  }

  get flags(): string {
    const flags = `${this.transaction ? 'x' : ''}${this.watchBroken ? 'd' : ''}${this.blockedOn ? 'b' : ''}`
    return flags === '' ? 'N' : flags
  }

  /** Closes after what has been answered; a session killed by another one has nothing more to say. */
  end(): void {
    this.ended = true
    this.unblock()
    // In a microtask, so that QUIT and a CLIENT KILL of oneself are answered first.
    queueMicrotask(() => this.socket.destroySoon())
  }

  /** Ends the connection with a reset: no farewell, no answers. */
  reset(): void {
    // Once this side has ended as well, a reset fails with EINVAL: Node then loses the handle, and spins as it exits.
    if (this.socket.writableEnded) this.socket.destroy()
    else this.socket.resetAndDestroy()
  }

  changed(): void {
    this.watchBroken = true
  }

  watch(keys: string[]): void {
    if (this.transaction) throw new Failure('ERR WATCH inside MULTI is not allowed')
    for (const key of keys) {
      this.server.store.watch(this.db, key, this)
      this.watched.push([this.db, key])
    }
  }

  unwatch(): void {
    for (const [db, key] of this.watched) this.server.store.unwatch(db, key, this)
    this.watched = []
    this.watchBroken = false
  }

  discard(): void {
    if (!this.transaction) throw new Failure('ERR DISCARD without MULTI')
    this.transaction = undefined
    this.transactionBroken = false
    this.unwatch()
  }

  exec(): Reply {
    const queued = this.transaction
    if (!queued) throw new Failure('ERR EXEC without MULTI')
    // A look at each watched key lets those expire whose time is over: that, too, breaks the watch.
    for (const [db, key] of this.watched) this.server.store.get(db, key)
    const { watchBroken, transactionBroken } = this
    this.discard()
    if (transactionBroken) throw new Failure('EXECABORT Transaction discarded because of previous errors.')
    if (watchBroken) return NULL_ARRAY
    this.executing = true
    const replies = queued.map(({ command, args }) => this.attempt(command, args) ?? NULL_ARRAY)
    this.executing = false
    return replies
  }

  blockOn(keys: string[], timeout: string | undefined): Reply | undefined {
    const seconds = Number(timeout)
    if (!(seconds >= 0)) throw new Failure('ERR timeout is not a float or out of range')
    const ready = this.take(this.db, keys)
    if (ready) return ready
    if (this.executing) return NULL_ARRAY
    const expire = () => {
      this.unblock()
      this.answer(NULL_ARRAY)
      this.work()
    }
    const timer = seconds > 0 ? setTimeout(expire, seconds * 1000) : undefined
    this.blockedOn = { db: this.db, keys, timer }
    this.server.blocked.add(this)
    return undefined
  }

  /** Answers a BLPOP that waits for this list, if there is still something in it. */
  serve(db: number, key: string): void {
    const waiting = this.blockedOn
    if (waiting?.db !== db || !waiting.keys.includes(key)) return
    const ready = this.take(db, [key])
    if (!ready) return
    this.unblock()
    this.answer(ready)
    // What came behind the BLPOP runs once the command that served it is finished.
    queueMicrotask(() => this.work())
  }

  private take(db: number, keys: string[]): string[] | undefined {
    for (const key of keys) {
      const item = this.server.store.pop(db, key, 'left')
      if (item !== undefined) return [key, item]
    }
    return undefined
  }

  private unblock(): void {
    clearTimeout(this.blockedOn?.timer)
    this.blockedOn = undefined
    this.server.blocked.delete(this)
  }

  private forget(): void {
    this.ended = true
    this.unblock()
    this.unwatch()
    this.server.sessions.delete(this)
  }

  private receive(chunk: Buffer): void {
    try {
      this.input.push(...this.parser.push(chunk))
      this.work()
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      this.answer(error)
      this.end()
    }
  }

  /** Runs what has arrived, in order; a blocked session leaves the rest for later. */
  private work(): void {
    while (!this.ended && !this.blockedOn) {
      const words = this.input.shift()
      if (words === undefined) return
      const reply = this.perform(words)
      if (reply !== undefined) this.answer(reply)
      this.serveBlocked()
    }
  }

  private perform([word = '', ...args]: string[]): Reply | undefined {
    const name = word.toLowerCase()
    this.lastCommandAt = Date.now()
    this.lastCommand = name
    if (!this.authenticated && !beforeAuth.has(name)) return new Failure('NOAUTH Authentication required.')
    const command = commands.get(name)
    const refusal = refuse(command, word, args)
    if (command === undefined || refusal !== undefined) {
      this.transactionBroken ||= this.transaction !== undefined
      return refusal
    }
    if (this.transaction && !immediate.has(name)) {
      this.transaction.push({ command, args })
      return new Status('QUEUED')
    }
    if (this.transaction && name === 'multi') return new Failure('ERR MULTI calls can not be nested')
    return this.attempt(command, args)
  }

  private attempt(command: Command, args: string[]): Reply | undefined {
    try {
      return command.run(this, args)
    } catch (error) {
      if (error instanceof Failure) return error
      throw error
    }
  }

  private serveBlocked(): void {
    const { grown } = this.server.store
    for (let next = grown.shift(); next !== undefined; next = grown.shift()) {
      for (const session of [...this.server.blocked]) session.serve(...next)
    }
  }

  private answer(reply: Reply): void {
    if (!this.socket.destroyed) this.socket.write(encode(reply, this.protocol), 'latin1')
  }
}

function refuse(command: Command | undefined, word: string, args: string[]): Failure | undefined {
  if (command === undefined) {
    const beginning = args.map(arg => `'${arg}' `).join('')
    return new Failure(`ERR unknown command '${word}', with args beginning with: ${beginning}`)
  }
  const [fewest, most] = command.arity
  if (args.length >= fewest && args.length <= most) return undefined
  return new Failure(`ERR wrong number of arguments for '${word.toLowerCase()}' command`)
}
