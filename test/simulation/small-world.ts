/*
 * A pool, a few tasks and a few faults, for the search through all orders of events. Every hook is answered, every timer
 * fires and every fault strikes when the search says so.
 */

import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import type { PoolOptions } from '../../src/api/options/options.ts'
import { openPool } from '../../src/pool/create-pool.ts'
import type { Lease } from '../../src/pool/lease.ts'
import { type Pool, partsOf } from '../../src/pool/pool.ts'
import { assertInvariants } from '../model/invariants.ts'
import type { Connection, World } from '../model/scripted-server.ts'
import { settle } from '../support/clock.ts'
import { assertAtRest } from './at-rest.ts'
import type { Explored } from './explorer.ts'
import { Hidden } from './hidden.ts'
import { ANSWERS, SmallServer } from './small-server.ts'
import { stateOf } from './state.ts'
import type { Repeat } from './state-graph.ts'
import { StepClock } from './step-clock.ts'

export const FAULTS = [
  'abort',
  'expiry',
  'death',
  'fin',
  'invalid',
  'close',
  'drain',
  'resize',
  'purge',
  'create fails',
  'create hangs',
  'destroy',
  'stall',
  'failed use',
  'slow destroy',
  'reset fails',
  'unnoticed death',
] as const
export type Fault = (typeof FAULTS)[number]
export type Call = 'acquire' | 'use' | 'lease'

export interface Setup {
  readonly max: number
  readonly min: number
  readonly tasks: readonly Call[]
  readonly faults: readonly Fault[]
  /** How often a timer may fire before the faults cease. */
  readonly timers: number
  /** May a fault strike in the same step as another event, before any promise has settled? */
  readonly bursts?: boolean
}

export interface Task {
  readonly call: Call
  readonly abort: AbortController
  state: 'new' | 'waiting' | 'holding' | 'ended' | 'refused'
  connection: Connection | undefined
  lease: Lease<Connection> | undefined
  finish: ((error?: Error) => void) | undefined
  deadline: number
  error: unknown
}

const ACQUIRE_MILLIS = 2000
const IMPATIENT_MILLIS = 100
/** Who may still wait this long when the faults cease has to be served. */
const AMPLE_MILLIS = 1200
const STALL_MILLIS = 150
const DRAIN_MILLIS = 400
/** So many timers may fire before everything has come to its end. */
const MOST_ROUNDS = 400

/** What happens by itself while no time passes. */
const EASE = /^(?:end|created|validated|reset|destroyed|turn)(?: \d+)?$/

const bits = (tasks: readonly Task[], are: (task: Task) => boolean): number =>
  tasks.reduce((sum, task, index) => (are(task) ? sum | (1 << index) : sum), 0)

const isFault = (event: string): boolean => FAULTS.some(fault => event.startsWith(fault))

export class SmallWorld implements Explored {
  readonly setup: Setup
  readonly clock = new StepClock()
  readonly server: SmallServer
  readonly pool: Pool<Connection>
  readonly tasks: Task[]
  readonly hidden: Hidden
  /** Which faults may still strike. */
  readonly left: Set<Fault>
  timersLeft: number
  closing: Promise<unknown> | undefined
  hasClosed = false
  isDraining = false
  #closingSince = 0
  #mayHaveChanged = false
  #stalledFrom = 0
  #stalledUntil = 0
  #mostHeld: number
  #drainsFirst = false
  #rest: string | undefined
  #surprise: unknown

  constructor(setup: Setup) {
    const { faults, max, min } = setup
    const has = (fault: Fault): boolean => faults.includes(fault)
    this.setup = setup
    this.left = new Set(faults)
    this.timersLeft = setup.timers
    this.#mostHeld = max
    this.server = new SmallServer({
      validate: has('invalid'),
      reset: has('reset fails'),
      slowDestroy: has('slow destroy'),
      kernel: has('fin'),
    })
    const options: PoolOptions = {
      max,
      min,
      acquireTimeoutMillis: has('expiry') ? IMPATIENT_MILLIS : ACQUIRE_MILLIS,
      createTimeoutMillis: has('create hangs') ? 900 : 300,
      validateTimeoutMillis: 61,
      resetTimeoutMillis: 61,
      destroyTimeoutMillis: 61,
      drainTimeoutMillis: DRAIN_MILLIS,
      testOnBorrow: has('invalid'),
      nested: 'allow',
      captureStacks: 'off',
      name: 'small',
    }
    const environment = { clock: this.clock, random: () => 0.5 }
    this.pool = openPool(this.server.factory(), options, false, environment)
    this.hidden = new Hidden(this.pool, this.server, this.clock)
    this.tasks = setup.tasks.map(call => newTask(call))
  }

  enabled(): string[] {
    const single = this.#single()
    if (!this.setup.bursts) return single
    const quick = single.filter(event => event !== 'turn' && event !== 'timer')
    const pairs = quick.flatMap(first =>
      quick
        .filter(second => second !== first && (isFault(first) || isFault(second)))
        .map(second => `${first} & ${second}`),
    )
    return [...single, ...pairs]
  }

  #single(): string[] {
    const { server, clock, tasks } = this
    const events: string[] = []
    const fresh = tasks.findIndex(({ state }) => state === 'new')
    if (fresh >= 0) events.push(`start ${fresh}`)
    tasks.forEach(({ state, call }, index) => {
      if (state === 'holding') {
        events.push(`end ${index}`)
        if (this.#may('destroy')) events.push(`destroy ${index}`)
        if (this.#may('failed use') && call === 'use') events.push(`failed use ${index}`)
      }
      if (state === 'waiting' && this.#may('abort')) events.push(`abort ${index}`)
    })
    for (const kind of ANSWERS)
      server.held(kind).forEach((_, index) => {
        events.push(`${kind} ${index}`)
      })
    if (this.#may('create fails') && server.creates.length > 0) events.push('create fails')
    if (this.#may('create hangs') && server.creates.length > 0) events.push('create hangs')
    if (this.#may('invalid') && server.validates.length > 0) events.push('invalid')
    if (this.#may('reset fails') && server.resets.length > 0) events.push('reset fails')
    for (const fault of ['death', 'unnoticed death', 'fin'] as const) {
      if (!this.#may(fault)) continue
      server.live.forEach((_, index) => {
        events.push(`${fault} ${index}`)
      })
    }
    for (const fault of ['close', 'drain', 'resize', 'purge', 'stall'] as const)
      if (this.#may(fault)) events.push(fault)
    if (clock.turnsPending > 0 || server.unread > 0) events.push('turn')
    // After timers comes a turn: another one fires first only if it is due as well.
    const mayFire = clock.turnsPending === 0 || clock.nextAt === clock.now()
    if (this.timersLeft > 0 && mayFire && Number.isFinite(clock.nextAt)) events.push('timer')
    return events
  }

  async take(event: string, checks: boolean, known?: Repeat): Promise<Repeat> {
    this.clock.repeat(known)
    // Who is granted a connection learns of it only once promises settle: until then it may die, or a purge may come.
    this.#mayHaveChanged = /& (?:death|unnoticed|purge|fin)/.test(event)
    this.#rest = undefined
    if (!this.#single().includes(event.split(' & ')[0] as string))
      throw new Error(`${event} cannot happen here`)
    let isFirst = true
    for (const each of event.split(' & ')) {
      // The first event may have made the second impossible.
      if (isFirst || this.#single().includes(each)) {
        const done = this.#do(each)
        // Not awaited for nothing: a promise would let others settle in between.
        if (done !== undefined) await done
      }
      isFirst = false
    }
    await settle()
    this.hidden.follow(this, event)
    if (checks) this.check()
    this.#mostHeld = Math.max(this.pool.max, partsOf(this.pool).context.slots.permitsInUse)
    return this.clock.names()
  }

  state(): string {
    return `${this.rest()}|${[...this.left]}|${this.timersLeft}`
  }

  rest(): string {
    this.#rest ??= `${stateOf(this)}|${this.#mostHeld}`
    return this.#rest
  }

  /** What the checks of this world remember, with times as ages. */
  memory(ago: (time: number) => number): unknown[] {
    const isClosing = this.closing !== undefined && !this.hasClosed
    const since = isClosing ? [ago(this.#closingSince), ago(this.#stalledUntil)] : this.hasClosed
    const isDue = ({ state, deadline }: Task): boolean =>
      state === 'waiting' && this.#stalledFrom < deadline && deadline <= this.#stalledUntil
    const isStalled = this.clock.now() <= this.#stalledUntil
    return [since, this.isDraining, this.#drainsFirst, isStalled && this.tasks.map(isDue)]
  }

  ease(enabled: readonly string[]): string | undefined {
    return enabled.find(event => EASE.test(event)) ?? enabled.find(event => event === 'timer')
  }

  claims(): number {
    if (this.closing !== undefined || this.isDraining) return 0
    const latest = this.clock.now() + AMPLE_MILLIS
    return bits(this.tasks, ({ state, deadline }) => state === 'waiting' && deadline >= latest)
  }

  refused(): number {
    return bits(this.tasks, ({ state }) => state === 'refused')
  }

  check(): void {
    const { clock, pool, server } = this
    if (this.#surprise !== undefined) throw this.#surprise
    if (this.closing === undefined) {
      const holding = this.tasks.filter(({ state }) => state === 'holding').length
      assert.equal(pool.borrowed, holding, 'borrowed = loans that somebody holds')
    }
    // What is due may still fire: the next timer, or in the next turn, if it was late.
    const overdue =
      clock.turnsPending > 0
        ? Number.NEGATIVE_INFINITY
        : Math.min(clock.due[0] ?? Infinity, clock.now() + 1) - 1
    const { slots } = partsOf(pool).context
    const inTransit = [...slots.all].filter(
      ({ state, createdAt }) => state === 'connecting' && createdAt > 0,
    ).length
    const { closed } = server
    // A connection that came too late is closed in the next turn.
    const opened = clock.turnsPending > 0 ? closed + slots.open : server.opened - inTransit
    assertInvariants(pool, { opened, closed } as World, this.#mostHeld, overdue)
  }

  async finish(): Promise<void> {
    const { clock, pool, tasks } = this
    this.left.clear()
    const ceased = clock.now()
    const certain = tasks.filter(
      ({ state, deadline }) => state === 'waiting' && deadline - ceased >= AMPLE_MILLIS,
    )
    const isOpen = this.closing === undefined && !this.isDraining
    await this.#rounds(() => this.#isOver())
    if (isOpen)
      for (const { error, call } of certain)
        assert.equal(error, undefined, `${call} had ample time, and was refused: ${error}`)
    if (isOpen) await this.#everyPermitIsFree(ceased)
    this.closing ??= this.#close()
    await this.#rounds(() => this.hasClosed && this.server.creates.length === 0)
    await this.#rounds(() => clock.due.length === 0)
    assertAtRest(pool, this.server, clock)
    for (const { abort } of this.tasks)
      assert.equal(getEventListeners(abort.signal, 'abort').length, 0, 'nobody listens to a signal any more')
  }

  /** As many as fit are lent at once: no permit, latch or breaker is left shut. */
  async #everyPermitIsFree(ceased: number): Promise<void> {
    await this.#untilTried()
    const probes = Array.from({ length: this.pool.max }, () => newTask('acquire'))
    this.tasks.push(...probes)
    for (const probe of probes) this.#start(probe, { timeoutMillis: 6000 })
    await this.#rounds(() => probes.every(({ state }) => state !== 'waiting'), false)
    for (const { error } of probes) assert.equal(error, undefined, `at the end an acquire failed: ${error}`)
    const { connector, context } = partsOf(this.pool)
    assert.equal(context.slots.counts.lent, this.pool.max)
    await this.#rounds(() => this.#isOver())
    const { failures, isOpen } = connector.breaker
    assert.equal(isOpen, false, 'the breaker is closed again')
    // Where nobody has needed a new connection since, none could show that the server is back.
    const isNew = [...context.slots.all].some(({ startedAt, loan }) => startedAt > ceased && loan > 0)
    if (isNew) assert.equal(failures, 0, 'the breaker has forgotten the failures')
    assert.ok(context.slots.size >= this.pool.min, 'min is kept')
  }

  /** An open breaker refuses at once, until its pause is over. */
  async #untilTried(): Promise<void> {
    const { connector } = partsOf(this.pool)
    while (connector.isDown) {
      const { retryAt } = connector.breaker
      if (this.clock.nextAt > retryAt) this.clock.idleUntil(retryAt)
      else this.clock.fire()
      await settle()
      await this.clock.turnLoop(() => this.server.deliver())
    }
  }

  #isOver(): boolean {
    const { slots, queue } = partsOf(this.pool).context
    const isSettled = this.tasks.every(({ state }) => state !== 'waiting' && state !== 'holding')
    const { connecting, validating, resetting, closing } = slots.counts
    const isQuiet = connecting + validating + resetting + closing + queue.waiting === 0
    const hasMin = this.closing !== undefined || this.isDraining || slots.open >= this.pool.min
    return isSettled && isQuiet && hasMin && (this.closing === undefined || this.hasClosed)
  }

  /** Everything is answered, every loan ends, and time passes, until the condition holds. */
  async #rounds(isOver: () => boolean, endsLoans = true): Promise<void> {
    for (let round = 0; ; round += 1) {
      for (const task of this.tasks) if (endsLoans && task.state === 'holding') this.#end(task)
      while (await this.#answerAll());
      await this.clock.turnLoop(() => this.server.deliver())
      await settle()
      this.check()
      this.#mostHeld = Math.max(this.pool.max, partsOf(this.pool).context.slots.permitsInUse)
      if (isOver()) return
      if (this.clock.turnsPending > 0 || ANSWERS.some(kind => this.server.held(kind).length > 0)) continue
      // Who has just got a connection gives it back before time passes: others may wait for it.
      if (endsLoans && this.tasks.some(({ state }) => state === 'holding')) continue
      const isStuck = round === MOST_ROUNDS || !Number.isFinite(this.clock.nextAt)
      if (isStuck) assert.fail(`nothing more comes to its end: ${isOver}\n${this.pool.report()}`)
      this.clock.fire()
      await settle()
    }
  }

  async #answerAll(): Promise<boolean> {
    const kind = ANSWERS.find(each => this.server.held(each).length > 0)
    if (kind !== undefined) this.server.answer(kind, 0)
    await settle()
    return kind !== undefined
  }

  #do(event: string): void | Promise<void> {
    const [, what = '', at] = /^(\D+?)(?: (\d+))?$/.exec(event) ?? []
    const index = Number(at ?? 0)
    const { server, clock, pool } = this
    const task = this.tasks[index] as Task
    if (FAULTS.includes(what as Fault)) this.left.delete(what as Fault)
    switch (what) {
      case 'start':
        return this.#start(task)
      case 'end':
        return this.#end(task)
      case 'abort':
        return task.abort.abort(new Error('changed my mind'))
      case 'destroy':
        task.state = 'ended'
        void pool.destroy(task.connection as Connection).catch(error => this.#note(error))
        return task.finish?.()
      case 'failed use':
        return task.finish?.(new Error('the use failed'))
      case 'created':
      case 'validated':
      case 'reset':
      case 'destroyed':
        return server.answer(what, index)
      case 'create fails':
        return server.creates.shift()?.reject(new Error('scripted'))
      case 'create hangs':
        // It ignores its signal, and never answers.
        server.creates.shift()
        return
      case 'invalid':
        return server.validates.shift()?.resolve(false)
      case 'reset fails':
        return server.resets.shift()?.reject(new Error('scripted'))
      case 'death':
        return server.kill(index)
      case 'unnoticed death':
        return server.destroySilently(index)
      case 'fin':
        return server.hangUp(index)
      case 'close':
        this.closing = this.#close()
        return
      case 'drain':
        this.isDraining = true
        this.#drainsFirst = this.closing === undefined
        pool.drain().then(
          () => this.#drained(),
          error => assert.equal(error.code, 'POOL_DRAIN_TIMEOUT'),
        )
        return
      case 'resize':
        return pool.resize({ max: 1, min: Math.min(this.setup.min, 1) })
      case 'purge':
        return pool.purge('a purge')
      case 'stall':
        this.#stalledFrom = clock.now()
        clock.stall(STALL_MILLIS)
        this.#stalledUntil = clock.now()
        return
      case 'turn':
        return clock.turnLoop(() => server.deliver())
      case 'timer':
        this.timersLeft -= 1
        return clock.fire()
      default:
        throw new Error(`no such event: ${event}`)
    }
  }

  #drained(): void {
    const { lent, resetting } = partsOf(this.pool).context.slots.counts
    if (lent + resetting > 0) this.#note(new Error(`drained, and ${lent} are lent, ${resetting} reset`))
  }

  #close(): Promise<unknown> {
    this.#closingSince = this.clock.now()
    const closing = this.pool.close().catch(error => assert.equal(error.code, 'POOL_DRAIN_TIMEOUT'))
    return closing.then(() => {
      this.hasClosed = true
      const now = this.clock.now()
      // No earlier than the end of a stall.
      if (now > Math.max(this.#closingSince + DRAIN_MILLIS, this.#stalledUntil) + 1)
        this.#note(new Error(`close took ${now - this.#closingSince} ms, ${DRAIN_MILLIS} are allowed`))
    })
  }

  #start(task: Task, options: { timeoutMillis?: number } = {}): void {
    const { pool } = this
    const signal = this.setup.faults.includes('abort') ? { signal: task.abort.signal } : {}
    const isGiven = options.timeoutMillis !== undefined || 'signal' in signal
    const given = isGiven ? { ...signal, ...options } : undefined
    task.state = 'waiting'
    const timeout = options.timeoutMillis ?? partsOf(pool).context.options.acquireTimeoutMillis
    task.deadline = this.clock.now() + timeout
    const served = (connection: Connection): void => {
      assert.equal(task.state, 'waiting', 'an acquire is settled once')
      const isAlive = !connection.closed && !connection.socket.destroyed
      assert.ok(isAlive || this.#mayHaveChanged, 'no dead connection is lent')
      const parts = partsOf(pool)
      const { generation } = parts.context.slots.lentSlot(connection) ?? parts.connector
      const isOurs = generation === parts.connector.generation || this.#mayHaveChanged
      assert.ok(isOurs, 'no connection of before a purge is lent')
      const isLent = this.tasks.some(
        other => other.state === 'holding' && other.connection === connection && !this.hasClosed,
      )
      assert.ok(!isLent || this.closing !== undefined, 'no connection is lent twice')
      task.state = 'holding'
      task.connection = connection
      this.server.talk(connection)
    }
    const done = this.#call(task, given, served)
    done.catch(error => {
      if (error?.message === 'the use failed' || (task.state === 'ended' && this.closing !== undefined))
        return
      if (task.state !== 'waiting') this.#note(error)
      task.error = error
      task.state = 'refused'
      if (error?.code === 'POOL_ACQUIRE_TIMEOUT') this.#assertGrace(task)
      const codes = ['POOL_ACQUIRE_TIMEOUT', 'POOL_ABORTED', 'POOL_UNHEALTHY', 'POOL_CLOSED']
      if (!codes.includes(error?.code)) this.#note(error)
    })
  }

  async #call(
    task: Task,
    given: object | undefined,
    served: (connection: Connection) => void,
  ): Promise<void> {
    const { pool } = this
    if (task.call === 'acquire') served(await pool.acquire(given))
    else if (task.call === 'lease') {
      task.lease = await pool.lease(given)
      served(task.lease.resource)
    } else {
      await pool.use(connection => {
        served(connection)
        return new Promise<void>((resolve, reject) => {
          task.finish = error => {
            task.state = 'ended'
            if (error === undefined) resolve()
            else reject(error)
          }
        })
      }, given)
    }
  }

  #end(task: Task): void {
    const { pool } = this
    task.state = 'ended'
    const ended =
      task.call === 'acquire'
        ? pool.release(task.connection as Connection)
        : task.call === 'lease'
          ? task.lease?.release().then(() => this.#releaseAgain(task.lease as Lease<Connection>))
          : task.finish?.()
    // A close that was in a hurry has ended the loan.
    Promise.resolve(ended).catch(error => {
      if (!this.hasClosed) this.#note(error)
    })
  }

  /** A lease that has ended ends no other loan. */
  #releaseAgain(lease: Lease<Connection>): void {
    const { borrowed } = this.pool
    lease.release().then(
      () => {
        if (!this.hasClosed) this.#note(new Error('a lease could be released twice'))
      },
      error => assert.equal(error.code, 'POOL_LEASE_ENDED'),
    )
    assert.equal(this.pool.borrowed, borrowed, 'a lease that has ended ends no loan')
  }

  /** Who is due in a stall is not refused before the loop has run. */
  #assertGrace({ deadline }: Task): void {
    const isDueIn = this.#stalledFrom < deadline && deadline <= this.#stalledUntil
    if (isDueIn && this.clock.now() <= this.#stalledUntil)
      this.#note(new Error('an acquire that was due in a stall was refused before the loop had run'))
  }

  #note(error: unknown): void {
    this.#surprise ??= error
  }

  #may(fault: Fault): boolean {
    return this.left.has(fault)
  }
}

const newTask = (call: Call): Task => ({
  call,
  abort: new AbortController(),
  state: 'new',
  connection: undefined,
  lease: undefined,
  finish: undefined,
  deadline: Number.POSITIVE_INFINITY,
  error: undefined,
})
