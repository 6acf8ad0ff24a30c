import type { Factory } from '../api/factory.ts'
import type { PoolOptions } from '../api/options/options.ts'
import { openPool, simulateEnvironment } from '../pool/create-pool.ts'
import type { Pool } from '../pool/pool.ts'
import type { Clock } from '../runtime/time/clock.ts'
import { Chance } from './chance.ts'
import { replaceGlobals } from './globals.ts'
import { SimulatedServer, type SimulatedServerOptions } from './simulated-server.ts'
import { Trace } from './trace.ts'
import { VirtualLoop } from './virtual-loop.ts'

/** How a simulation runs. */
export interface SimulationOptions {
  /** The same seed gives the same run. Default 1. */
  readonly seed?: number | undefined
  /** Longest virtual time of one `run`, in milliseconds. Default: a day. */
  readonly limitMillis?: number | undefined
}

const DAY_MILLIS = 86_400_000

/** The simulation whose `run` is in progress. */
let running: Simulation | undefined

/** Creates a simulated world: virtual time, servers with faults, and pools that live in it. */
export const createSimulation = (options: SimulationOptions = {}): Simulation => new Simulation(options)

/**
 * A world in which time is virtual and every packet is simulated. Nothing in it waits for real time, and the same seed
 * gives the same run.
 */
export class Simulation {
  readonly seed: number
  readonly #limitMillis: number
  readonly #loop = new VirtualLoop()
  readonly #chance: Chance
  readonly #trace = new Trace()
  #servers = 0

  /** @internal Use `createSimulation`. */
  constructor({ seed = 1, limitMillis = DAY_MILLIS }: SimulationOptions) {
    this.seed = seed
    this.#limitMillis = limitMillis
    this.#chance = new Chance(seed)
  }

  /** Virtual milliseconds since the start. */
  get now(): number {
    return this.#loop.now()
  }

  /** @internal */
  get clock(): Clock {
    return this.#loop
  }

  /** A number from 0 (included) to 1, from the seed. */
  readonly random = (): number => this.#chance.next()

  /** What has happened so far, the last 2000 lines. */
  get trace(): readonly string[] {
    return this.#trace.lines
  }

  /** A hash of all that has happened: two runs with the same seed have the same. */
  get hash(): string {
    return this.#trace.hash
  }

  /** Adds a line to the trace. */
  note(what: string): void {
    this.#trace.add(this.#loop.now(), what)
  }

  /** Creates a server. It accepts connections at once. */
  server(options: SimulatedServerOptions = {}): SimulatedServer {
    this.#servers += 1
    const world = { loop: this.#loop, chance: this.#chance, trace: this.#trace }
    return new SimulatedServer(world, options, 7000 + this.#servers)
  }

  /** Creates a pool that lives in this simulation. Inside of {@link run}, `createPool` does the same. */
  createPool<T>(factory: Factory<T>, options?: PoolOptions): Pool<T> {
    return openPool(factory, options, false, this.#environment)
  }

  /**
   * Runs a function in virtual time, until its promise settles. Meanwhile every pool that `createPool` makes lives in
   * this simulation, and the global timers, `Date`, `performance.now` and `AbortSignal.timeout` are virtual.
   *
   * @throws Error if nothing is left to happen, or the time limit is over, and the function has not ended
   */
  async run<R>(work: () => R | Promise<R>): Promise<R> {
    if (running !== undefined)
      throw new Error('another simulation is running in this process: await its end first')
    running = this
    const restore = replaceGlobals(this.#loop)
    simulateEnvironment(this.#environment)
    try {
      const start = this.now
      let hasEnded = false
      const ended = new Promise<R>(resolve => resolve(work())).finally(() => {
        hasEnded = true
      })
      ended.catch(() => {})
      await this.#loop.runUntil(this.now + this.#limitMillis, () => hasEnded)
      if (!hasEnded)
        throw new Error(
          `the function has not ended after ${Math.round(this.now - start)} virtual milliseconds: it waits for something that does ` +
            'not happen, or for something outside of the simulation (files, real sockets, node:timers/promises)',
        )
      return await ended
    } finally {
      simulateEnvironment(undefined)
      restore()
      running = undefined
    }
  }

  /** Lets virtual time pass, inside of {@link run} as well as outside. */
  async sleep(millis: number): Promise<void> {
    if (running === this) await new Promise<void>(resolve => this.#loop.after(millis, resolve))
    else await this.#loop.runUntil(this.now + millis)
  }

  /** Calls a function after so many milliseconds, whatever the process does then: for faults. */
  after(millis: number, fault: () => void): void {
    this.#loop.outside(millis, fault)
  }

  /** Blocks the event loop for so many milliseconds, as synchronous work does. Packets arrive meanwhile, unread. */
  block(millis: number): void {
    this.note(`the loop is blocked for ${millis} ms`)
    this.#loop.block(millis)
  }

  /**
   * The process is stopped, or starved of CPU, for so many milliseconds. As {@link block}, but nobody can measure it:
   * only timers that fire late tell of it.
   */
  suspend(millis: number): void {
    this.note(`the process is suspended for ${millis} ms`)
    this.#loop.suspend(millis)
  }

  get #environment(): { clock: Clock; random: () => number } {
    return { clock: this.#loop, random: this.random }
  }
}
