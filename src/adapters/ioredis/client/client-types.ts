import type { Socket } from 'node:net'

/**
 * The part of an ioredis client that the adapter uses. The clients of ioredis 5 and 6, and one typed for RESP3 replies,
 * all have this shape, although TypeScript cannot assign them to each other.
 */
export interface RedisClient {
  readonly status: string
  readonly isCluster: boolean
  readonly options: object
  /** Typed as always present, but undefined until the tick after connecting starts. */
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

/** Commands without an answer, oldest first. */
export interface CommandQueue {
  readonly length: number
  peekAt(index: number): unknown
}

/** The further members of a client that handles replace or use. */
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

/** The part of an ioredis command that the adapter reads. */
export interface Command {
  readonly name: string
  readonly args: readonly unknown[]
  /** Called with the reply as it arrived, before any code that awaits it can run. */
  resolve(reply: unknown): unknown
  reject(error: Error): unknown
  readonly promise: Promise<unknown>
}

/** A pipeline of ioredis. A MULTI is one too. */
export interface Pipeline {
  readonly redis: object
  exec(...args: unknown[]): Promise<unknown>
}

/** The argument of `defineCommand`. */
export interface Script {
  readonly lua?: unknown
  readonly numberOfKeys?: unknown
  readonly readOnly?: unknown
}

/** The part of ioredis that finds the server and creates the socket. */
export interface Connector {
  stream?: Socket | undefined
  disconnectTimeout?: number
  /** Called with what the server reports about itself. Returning false closes the connection. */
  check?(info: Readonly<Record<string, string | undefined>>): boolean
  /** This member and those below exist only in the connector that asks sentinels. */
  connectToSentinel?(...args: unknown[]): RedisClient
  /** Asks a sentinel for a server. */
  resolve?(endpoint: unknown): Promise<unknown>
  /** Chooses among the replicas that the sentinel behind this client reports. */
  resolveSlave?(client: { sentinel(...args: string[]): Promise<unknown> }): Promise<unknown>
  /** Applies `natMap`. */
  sentinelNatResolve?<A>(address: A): A
}
