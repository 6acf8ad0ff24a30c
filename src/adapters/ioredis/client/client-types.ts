import type { Socket } from 'node:net'

/**
 * What the adapter uses of an ioredis client. The client of ioredis 5, that of ioredis 6 and one typed for RESP3
 * replies all have this shape, although TypeScript cannot assign them to each other.
 */
export interface RedisClient {
  readonly status: string
  readonly isCluster: boolean
  readonly options: object
  /** Typed as always there; in fact undefined until the tick after connecting starts. */
  readonly stream: Socket
  readonly condition: { readonly subscriber: unknown } | null
  readonly commandQueue: CommandQueue
  readonly autoPipelineQueueSize: number
  connect(): Promise<unknown>
  disconnect(): void
  ping(): Promise<unknown>
  call(command: string, ...args: string[]): Promise<unknown>
  on(event: string, listener: (...args: unknown[]) => void): unknown
  once(event: string, listener: (...args: unknown[]) => void): unknown
  off(event: string, listener: (...args: unknown[]) => void): unknown
}

/** Commands without an answer, the oldest first. */
export interface CommandQueue {
  readonly length: number
  peekAt(index: number): unknown
}

/** The members of a client that handles put something in front of, beside those of {@link RedisClient}. */
export interface Client extends RedisClient {
  sendCommand(command: Command, stream?: unknown, node?: unknown): unknown
  defineCommand(name: string, definition: Script): void
  addBuiltinCommand(name: string): void
  pipeline(commands?: unknown): Pipeline
  multi(commands?: unknown, options?: unknown): unknown
  emit(event: string | symbol, ...args: unknown[]): boolean
  listeners(event: string | symbol): unknown[]
  listenerCount(event: string | symbol): number
  readonly scriptsSet: Record<string, unknown>
  readonly addedBuiltinSet: Set<string>
}

/** A command of ioredis, as far as it is looked at. */
export interface Command {
  readonly name: string
  readonly args: readonly unknown[]
  /** Called with the reply as it came, before anybody who awaits it can act. */
  resolve(reply: unknown): unknown
  reject(error: Error): unknown
  readonly promise: Promise<unknown>
}

/** A pipeline of ioredis, or a MULTI, which is one. */
export interface Pipeline {
  readonly redis: object
  exec(...args: unknown[]): Promise<unknown>
}

/** What `defineCommand` is given. */
export interface Script {
  readonly lua?: unknown
  readonly numberOfKeys?: unknown
  readonly readOnly?: unknown
}

/** The part of ioredis that finds the server and makes the socket. */
export interface Connector {
  stream?: Socket | undefined
  disconnectTimeout?: number
  /** Called with what the server tells of itself; false closes the connection. */
  check?(info: Readonly<Record<string, string | undefined>>): boolean
  /** The rest is there where it asks sentinels. */
  connectToSentinel?(...args: unknown[]): RedisClient
  /** Asks a sentinel for a server. */
  resolve?(endpoint: unknown): Promise<unknown>
  /** Chooses among the replicas that the sentinel behind this client names. */
  resolveSlave?(client: { sentinel(...args: string[]): Promise<unknown> }): Promise<unknown>
  /** Applies `natMap`. */
  sentinelNatResolve?<A>(address: A): A
}
