/* A service in a simulated world that does what a random program says, and what must be true of its pool all the time. */

import assert from 'node:assert/strict'
import type { AcquireOptions } from '../../src/api/options/options.ts'
import type { Lease } from '../../src/pool/lease.ts'
import { type Pool, partsOf } from '../../src/pool/pool.ts'
import { type SocketCheck, simulateKernel } from '../../src/sockets/conn-check.ts'
import {
  createSimulation,
  type LineClient,
  lineFactory,
  type SimulatedServer,
  type Simulation,
} from '../../src/testing/index.ts'
import { assertInvariants } from '../model/invariants.ts'
import type { World } from '../model/scripted-server.ts'
import type { Program, Step } from './program.ts'
import { Watchdog } from './watchdog.ts'

/** An acquire, and the loan that it led to. */
interface Task {
  readonly kind: 'use' | 'acquire' | 'lease'
  readonly since: number
  readonly deadline: number
  /** When it is due if nothing stalls. */
  readonly dueAt: number
  readonly abort: AbortController
  state: 'waiting' | 'holding' | 'over'
  client: LineClient | undefined
  lease: Lease<LineClient> | undefined
}

/** What a simulated socket knows that JavaScript does not. */
interface KernelSide {
  readonly arrivedAt: number
  kernelCheck(): SocketCheck
}

const REFUSALS = new Set(
  ['ACQUIRE_TIMEOUT', 'ABORTED', 'UNHEALTHY', 'CLOSED', 'QUEUE_FULL', 'SHED'].map(code => `POOL_${code}`),
)
/** A FIN of which the kernel has known for less than this may be overlooked: see sockets/poll-phase.ts. */
const GATE_MILLIS = 2
/**
 * Before the first loan the kernel is not asked, as a greeting may be there: what is no stall may hide a FIN. So may it
 * behind the answer to a validation where the kernel cannot be asked.
 */
const FIRST_GATE_MILLIS = 25
/** How long a request waits for its answer. */
const PATIENCE_MILLIS = 2500
/** Three graces after stalls, of 100 ms each, and the turns between. */
const MOST_GRACE_MILLIS = 320

export class Service {
  readonly world: Simulation
  readonly server: SimulatedServer
  readonly pool: Pool<LineClient>
  readonly #tasks = new Set<Task>()
  readonly #watchdog: Watchdog
  /** Leases that have ended. */
  readonly #ended: Lease<LineClient>[] = []
  readonly #blocks: { readonly from: number; readonly until: number }[] = []
  /** For how long each listener and each borrower keeps the loop busy. */
  #busyMillis = 0
  readonly #isBlind: boolean
  readonly #returnedAt = new WeakMap<LineClient, number>()
  #opened = 0
  #closed = 0
  #mostHeld: number
  #blocked = 0
  #surprise: unknown

  constructor({ seed, options, lazy = false, blind = false, greets = false, resets = false }: Program) {
    this.#isBlind = blind
    this.world = createSimulation({ seed })
    this.server = this.world.server({ jitterMillis: 1, ...(greets ? { greeting: 'welcome\n' } : {}) })
    const factory = lineFactory(this.server)
    this.pool = this.world.createPool(
      {
        ...factory,
        create: async signal => {
          const client = await factory.create(signal)
          this.#opened += 1
          if (blind) simulateKernel(client.socket, () => 'unknown')
          return client
        },
        destroy: async client => {
          this.#closed += 1
          if (!lazy) await factory.destroy(client)
        },
        ...(resets ? { reset: (client: LineClient) => client.request('RESET').then(() => {}) } : {}),
      },
      { ...options, nested: 'allow', name: 'service' },
    )
    this.#mostHeld = this.pool.max
    for (const event of ['connect', 'destroy', 'breaker'] as const)
      this.pool.on(event, message => {
        this.world.note(`${event} ${'reason' in message ? message.reason : ''}`)
        if (event === 'destroy') this.#beBusy()
      })
    this.#watchdog = new Watchdog(this.pool as never, this.world.clock)
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      this.#watchdog.mayShrink()
      await this.#step(step)
      // Some steps follow at once, before the loop has turned.
      const { permitsInUse } = partsOf(this.pool).context.slots
      this.#mostHeld = Math.max(this.#mostHeld, this.pool.max, permitsInUse)
      if (step[2] % 3 === 0) continue
      await this.#pass(0)
      this.check()
    }
    await this.#end()
  }

  check(): void {
    const surprise = this.#surprise ?? this.#watchdog.surprise
    if (surprise !== undefined) throw surprise
    const { slots } = partsOf(this.pool).context
    // Between its create and its delivery a connection belongs to nobody, as does one that came too late.
    const opened = slots.counts.connecting > 0 ? this.#closed + this.#owned : this.#opened
    const world = { opened, closed: this.#closed } as World
    this.#mostHeld = Math.max(this.#mostHeld, this.pool.max)
    assertInvariants(this.pool as never, world, this.#mostHeld, this.world.now - 1)
    this.#mostHeld = Math.max(this.pool.max, slots.permitsInUse)
  }

  get #owned(): number {
    const { counts } = partsOf(this.pool).context.slots
    return counts.idle + counts.validating + counts.lent + counts.resetting
  }

  #in(state: Task['state']): Task[] {
    return [...this.#tasks].filter(task => task.state === state)
  }

  async #step([op, a, b]: Step): Promise<void> {
    const { server, pool } = this
    this.world.note(`${op} ${a} ${b}`)
    // A use ends by itself.
    const holding = this.#in('holding').filter(({ kind }) => kind !== 'use')
    const held = holding[a % Math.max(holding.length, 1)]
    switch (op) {
      case 'use':
        return this.#use(a % 300, false)
      case 'failing use':
        return this.#use(a % 300, true)
      case 'crowd':
        for (let count = 0; count < a % 12; count += 1) this.#use(b % 50, false)
        return
      case 'acquire':
        return this.#acquire({})
      case 'hurried':
        return this.#acquire({ timeoutMillis: a % 60 })
      case 'lease':
        return this.#lease()
      case 'release':
        if (held !== undefined) this.#giveBack(held, 'release')
        return
      case 'slow release':
        // Synchronous work goes before the release: what arrives meanwhile is unread.
        this.#block(5 + (a % 60))
        if (held !== undefined) this.#giveBack(held, 'release')
        return
      case 'destroy':
        if (held !== undefined) this.#giveBack(held, 'destroy')
        return
      case 'abort': {
        const waiting = this.#in('waiting')
        return waiting[a % Math.max(waiting.length, 1)]?.abort.abort(new Error('changed my mind'))
      }
      case 'invalidate': {
        const slots = [...partsOf(pool).context.slots.all]
        const slot = slots[a % Math.max(slots.length, 1)]
        if (slot?.resource !== undefined) pool.invalidate(slot.resource, 'a program')
        return
      }
      case 'sleep':
        return this.#sleep(1 + (a % 120))
      case 'long sleep':
        return this.#sleep(a * 10)
      case 'block':
        return this.#block(a % 400)
      case 'rush':
        // Synchronous work, a query, and synchronous work again.
        this.#block(1 + (a % 40))
        this.#use(b % 50, false)
        if (b % 2 === 1) this.#block(1 + (b % 30))
        return
      case 'busy':
        this.#busyMillis = b % 3 === 0 ? 0 : 3 + (a % 40)
        return
      case 'hang up':
        // The borrower ends the connection itself, and returns it in the same step.
        if (held === undefined) return
        held.client?.socket.destroy()
        return this.#giveBack(held, 'release')
      case 'stale release':
        return this.#releaseAgain(a, b % 2 === 0 ? 'release' : 'destroy')
      case 'end in turn':
        // As servers do that shut down: one connection after the other.
        ;[...server.peers].forEach((peer, index) => {
          this.world.after((a % 50) + (1 + index) * (1 + (b % 20)), () => peer.end())
        })
        return
      case 'late fault':
        return this.#faultIn(1 + (a % 250), b)
      case 'resize':
        return pool.resize({ max: 1 + (a % 5), min: b % (1 + (a % 5)) })
      case 'purge':
        return pool.purge('a program')
      case 'clear':
        return void pool.clear().catch(error => this.#note(error))
      case 'restart':
        return server.restart(a)
      case 'end one':
        return [...server.peers][a % Math.max(server.peers.size, 1)]?.end()
      case 'unasked':
        return [...server.peers][a % Math.max(server.peers.size, 1)]?.write('unasked\n')
      case 'latency':
        server.latencyMillis = 1 + (a % 200)
        return
      case 'idle limit':
        server.idleLimitMillis = b % 2 === 0 ? 0 : 100 + a
        return
      case 'connection limit':
        server.maxConnections = b % 2 === 0 ? Number.POSITIVE_INFINITY : 1 + (a % 4)
        return
      default:
        server[op as 'kill']()
    }
  }

  async #sleep(millis: number): Promise<void> {
    for (let left = millis; left > 0; left -= 200) {
      await this.#pass(Math.min(left, 200))
      this.check()
    }
  }

  /** Time passes. If callbacks keep the loop busy beyond that, timers that are due by then fire as well. */
  async #pass(millis: number): Promise<void> {
    let blocks = this.#blocks.length
    await this.world.sleep(millis)
    for (; blocks !== this.#blocks.length; await this.world.sleep(0)) blocks = this.#blocks.length
  }

  #block(millis: number): void {
    const from = this.world.now
    this.#blocked += millis
    this.world.block(millis)
    this.#blocks.push({ from, until: this.world.now })
  }

  #beBusy(): void {
    if (this.#busyMillis > 0) this.#block(this.#busyMillis)
  }

  /** A lease that has ended cannot end the loan of somebody else. */
  #releaseAgain(which: number, how: 'release' | 'destroy'): void {
    const lease = this.#ended[which % Math.max(this.#ended.length, 1)]
    if (lease === undefined) return
    const { borrowed } = this.pool
    lease[how]().catch(error => {
      if (error.code !== 'POOL_LEASE_ENDED') this.#note(error)
    })
    assert.equal(this.pool.borrowed, borrowed, 'a lease that has ended ends no loan')
  }

  /** A fault at any moment: also while the loop is blocked, or between two packets. */
  #faultIn(millis: number, which: number): void {
    const { server } = this
    const some = (): (typeof server.peers extends Set<infer P> ? P : never) | undefined =>
      [...server.peers][which % Math.max(server.peers.size, 1)]
    this.world.after(millis, () => {
      const faults = [
        () => server.endAll(),
        () => server.resetAll(),
        () => some()?.end(),
        () => some()?.reset(),
        () => server.restart(which % 300),
      ]
      faults[which % faults.length]?.()
    })
  }

  #newTask(kind: Task['kind'], timeoutMillis?: number): Task {
    const { now } = this.world
    const timeout = timeoutMillis ?? partsOf(this.pool).context.options.acquireTimeoutMillis
    const abort = new AbortController()
    const task: Task = {
      kind,
      since: now,
      deadline: now + timeout - this.#blocked,
      dueAt: now + timeout,
      ...{ abort, state: 'waiting', client: undefined, lease: undefined },
    }
    this.#tasks.add(task)
    return task
  }

  #served(task: Task, client: LineClient): void {
    assert.equal(task.state, 'waiting', 'an acquire is settled once')
    task.state = 'holding'
    task.client = client
    const { socket } = client
    const others = this.#in('holding').filter(other => other !== task && other.client === client)
    assert.equal(others.length, 0, 'no connection is lent twice')
    const { arrivedAt } = socket as unknown as KernelSide
    assert.ok(!socket.destroyed && socket.readable && socket.writable, 'a dead connection was lent')
    const kernel = (socket as unknown as KernelSide).kernelCheck()
    const slot = partsOf(this.pool).context.slots.lentSlot(client)
    // Whoever was served before in the same step may have kept the loop busy since then.
    const lentAt = slot?.lentAt ?? this.world.now
    const isOld = lentAt - arrivedAt > (slot?.loan === 1 || this.#isBlind ? FIRST_GATE_MILLIS : GATE_MILLIS)
    // Where the kernel cannot be asked, what came before the acquire and before the last return has been read.
    const askedAt = Math.max(task.since, this.#returnedAt.get(client) ?? 0)
    const mayBe = this.#isBlind && arrivedAt >= askedAt
    assert.ok(
      (kernel !== 'fin' && kernel !== 'reset') || !isOld || mayBe,
      `a connection was lent whose kernel says ${kernel}`,
    )
    if (slot !== undefined) this.#watchdog.lent(slot, task.since)
    this.#inTime(task, 'served')
    this.world.note('served')
    this.#beBusy()
  }

  #refused(task: Task, error: { code?: string }): void {
    if (error instanceof assert.AssertionError || !REFUSALS.has(error?.code ?? '')) this.#note(error)
    task.state = 'over'
    this.#tasks.delete(task)
    this.#inTime(task, `refused with ${error.code}`)
    if (error.code === 'POOL_ACQUIRE_TIMEOUT') this.#assertGrace(task)
    this.world.note(`refused ${error.code}`)
  }

  #inTime(task: Task, what: string): void {
    const late = this.world.now - task.deadline - this.#blocked
    if (late > MOST_GRACE_MILLIS) this.#note(new Error(`${what} ${late} ms after its deadline`))
  }

  /** Who is due while the loop is blocked is not refused before the loop has run. */
  #assertGrace({ dueAt }: Task): void {
    const near = this.#blocks.filter(({ until }) => until > dueAt - 100)
    const [block] = near
    const isDueIn = block !== undefined && block.from < dueAt && dueAt < block.until
    if (near.length === 1 && isDueIn && block.until - block.from > 50 && this.world.now <= block.until)
      this.#note(new Error('an acquire that was due in a stall was refused before the loop had run'))
  }

  #use(millis: number, fails: boolean): void {
    const task = this.#newTask('use')
    const work = async (client: LineClient): Promise<void> => {
      this.#served(task, client)
      const tooLong = this.#pause(PATIENCE_MILLIS).then(() => fail('no answer'))
      // The pool lends it to the next one before this use has settled.
      try {
        await Promise.race([client.request('hello'), tooLong])
        await this.#pause(millis)
      } finally {
        this.#over(task)
      }
      if (fails) fail('the work failed')
    }
    this.pool.use(work, { signal: task.abort.signal }).then(
      () => {},
      error => {
        if (task.state === 'waiting') this.#refused(task, error)
        else if (error instanceof assert.AssertionError) this.#note(error)
      },
    )
  }

  #acquire(options: AcquireOptions): void {
    const task = this.#newTask('acquire', options.timeoutMillis as number | undefined)
    const { signal } = task.abort
    this.pool
      .acquire({ ...options, signal })
      .then(client => this.#served(task, client))
      .catch(error => this.#refused(task, error))
  }

  #lease(): void {
    const task = this.#newTask('lease')
    this.pool
      .lease()
      .then(lease => {
        task.lease = lease
        this.#served(task, lease.resource)
      })
      .catch(error => this.#refused(task, error))
  }

  #giveBack(task: Task, how: 'release' | 'destroy'): void {
    this.#over(task)
    if (task.lease !== undefined) this.#ended.push(task.lease)
    const ended = task.lease?.[how]() ?? this.pool[how](task.client as LineClient)
    // The pool may have ended the loan itself, because the server was silent.
    ended.catch(error => {
      if (!/BORROWED|ENDED/.test(error.code)) this.#note(error)
    })
  }

  /** All faults cease. Then everybody is served, and nothing is left behind. */
  async #end(): Promise<void> {
    const { server, world, pool } = this
    this.#busyMillis = 0
    server.recover()
    Object.assign(server, { latencyMillis: 1, idleLimitMillis: 0, maxConnections: Number.POSITIVE_INFINITY })
    world.note('the faults cease')
    const ceased = world.now
    for (let round = 0; this.#tasks.size > 0; round += 1) {
      for (const task of this.#in('holding')) if (task.kind !== 'use') this.#giveBack(task, 'release')
      assert.ok(round < 100, `${this.#in('waiting').length} still wait, ${this.#in('holding').length} hold`)
      await this.#sleep(200)
    }
    await this.#sleep(3000)
    this.#assertTrust(ceased)
    const since = world.now
    const probes: LineClient[] = []
    while (probes.length < pool.max) probes.push(await this.#probe())
    for (const client of probes) {
      // A server that has crashed says nothing of it until it is asked.
      const answer = await this.#during(client.request('hello').catch(() => undefined))
      await this.#during(answer === 'hello' ? pool.release(client) : pool.destroy(client))
    }
    await this.#sleep(2000)
    const { connector, context } = partsOf(pool)
    // One by one they are renewed, where there is an idle timeout: at some moment all are there.
    for (let round = 0; context.slots.open < pool.min; round += 1) {
      assert.ok(round < 200, `${context.slots.open} connections, min is ${pool.min}`)
      await world.sleep(7)
    }
    assert.equal(connector.breaker.isOpen, false, 'the breaker is closed again')
    const isNew = [...context.slots.all].some(({ startedAt, loan }) => startedAt > since && loan > 0)
    if (isNew) assert.equal(connector.breaker.failures, 0, 'the breaker has forgotten the failures')
    await this.#during(pool.close())
    await this.#sleep(3000)
    assert.equal(this.#opened, this.#closed, 'opened = closed at the end')
    assert.equal(context.slots.all.size, 0, 'no slot is left')
    assert.equal(server.peers.size, 0, 'the server has no connection left')
    const { timers } = world.clock as unknown as { timers: number }
    assert.equal(timers, 0, `${timers} timers are left`)
  }

  /** Connections that have lived for long prove that the server is back, also if nobody uses them. */
  #assertTrust(ceased: number): void {
    const { connector, context } = partsOf(this.pool)
    const { breaker } = connector
    const hasLived = [...context.slots.all].some(
      ({ state, startedAt, createdAt }) =>
        state === 'idle' && startedAt > ceased + 1100 && this.world.now - createdAt > 1200,
    )
    if (hasLived) assert.equal(breaker.failures, 0, 'what has lived for long proves nothing')
  }

  /** An acquire at a time without faults, by somebody who holds no more than `max`. */
  async #probe(): Promise<LineClient> {
    for (let tries = 0; ; tries += 1) {
      try {
        return await this.#during(this.pool.acquire({ timeoutMillis: 10_000 }))
      } catch (error) {
        const isShed = ['POOL_QUEUE_FULL', 'POOL_SHED'].includes((error as { code: string }).code)
        if (!isShed || tries === 20) throw error
        await this.#sleep(200)
      }
    }
  }

  /** Lets time pass until a promise has settled. */
  async #during<R>(promise: Promise<R>): Promise<R> {
    let hasEnded = false
    const end = (): void => {
      hasEnded = true
    }
    promise.then(end, end)
    for (let round = 0; !hasEnded; round += 1) {
      assert.ok(round < 1000, 'nothing has come of it in 20 seconds')
      await this.world.sleep(round === 0 ? 0 : 20)
    }
    return await promise
  }

  #over(task: Task): void {
    if (task.client !== undefined) this.#returnedAt.set(task.client, this.world.now)
    task.state = 'over'
    this.#tasks.delete(task)
  }

  #pause(millis: number): Promise<void> {
    return new Promise(resolve => this.world.clock.after(millis, resolve))
  }

  #note(error: unknown): void {
    this.#surprise ??= error
  }
}

function fail(message: string): never {
  throw new Error(message)
}
