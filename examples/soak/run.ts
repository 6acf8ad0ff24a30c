import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import type { Pool } from '../../src/index.ts'
import { Bank } from './bank.ts'
import { between, now } from './clock.ts'
import { type Findings, findingsOf } from './findings.ts'
import { Killer } from './killer.ts'
import { HANG_MILLIS, Ledger } from './ledger.ts'
import { Loans } from './loans.ts'
import { PoolWatch } from './pool-watch.ts'
import { Queue } from './queue.ts'
import { SocketWatch } from './socket-watch.ts'
import { Troublemaker } from './troubles.ts'
import { Desk } from './users.ts'

const PEOPLE = { users: 40, bankers: 4, producers: 2, consumers: 2 }
const MAX = 8
const SMALLER_MAX = 6

export interface RunOptions {
  readonly url: string
  readonly seconds: number
  /** Takes a line of progress, once a second. */
  readonly say: (line: string) => void
}

/** Runs the service, and its troubles, for so many seconds, and tells what came of it. */
export async function runService({ url, seconds, say }: RunOptions): Promise<Findings> {
  const prefix = `lifeguard-start:${randomUUID().slice(0, 8)}:`
  const sockets = new SocketWatch()
  const pool = openPool(url, prefix)
  const watch = new PoolWatch(pool)
  const ledger = new Ledger()
  const loans = new Loans(pool, watch, ledger)
  const parts = {
    desk: new Desk(loans, ledger, prefix),
    bank: new Bank(loans, ledger, prefix),
    queue: new Queue(loans, ledger, prefix),
  }
  const killer = new Killer({ url, prefix })
  try {
    await pool.use(client => parts.bank.open(client))
    // Its first answer: the thread has started, and may list the clients of this server.
    await killer.count()
    const trouble = new Troublemaker(killer, pool)
    const schedule = new Schedule(seconds)
    const people = peopleAtWork(parts, schedule)
    const [report] = await Promise.all([
      reportOfABusyMoment(pool, schedule),
      trouble.keepKilling(() => schedule.isOver),
      schedule.at(0.35, () => trouble.block()),
      schedule.at(0.5, () => trouble.purge()),
      schedule.at(0.65, () => trouble.kill(MAX)),
      schedule.at(0.75, () => trouble.resize(SMALLER_MAX)),
      tellProgress(pool, ledger, trouble, schedule, say),
    ])
    await withinLimit(people)

    const hung = ledger.hung()
    const settled = await pool.use(client => settle(client, parts))
    const stats = pool.stats()
    const owned = { connects: watch.connects, destroyed: watch.destroyed, size: stats.size }
    const closeError = await pool.close({ timeoutMillis: 5000 }).then(
      () => undefined,
      (error: Error) => error.message,
    )
    const seenByServer = await untilNone(() => killer.count())
    return findingsOf({
      ...settled,
      seconds: schedule.elapsed / 1000,
      people: PEOPLE,
      troubles: trouble.done,
      watch,
      ledger,
      hung,
      stats,
      owned,
      closeError,
      sockets: { opened: sockets.opened, closed: sockets.closed, seenByServer },
      report,
    })
  } finally {
    watch.stop()
    sockets.stop()
    await killer.close()
  }
}

function openPool(url: string, prefix: string): Pool<Redis> {
  let lastConnection = 0
  // A name for each connection, so that the server's list of clients and the pool's events can be compared.
  const connect = (): Redis =>
    new Redis(url, { lazyConnect: true, connectionName: `${prefix}${++lastConnection}` })
  return createRedisPool(connect, {
    name: 'service',
    max: MAX,
    min: 2,
    fifo: false,
    acquireTimeoutMillis: 3000,
  })
}

/** When things happen. */
class Schedule {
  readonly seconds: number
  readonly #startedAt = now()

  constructor(seconds: number) {
    this.seconds = seconds
  }

  get elapsed(): number {
    return now() - this.#startedAt
  }

  get isOver(): boolean {
    return this.elapsed >= this.seconds * 1000
  }

  /** Waits until this share of the time has passed. */
  async at<R>(share: number, act: () => R | Promise<R>): Promise<R> {
    await delay(Math.max(share * this.seconds * 1000 - this.elapsed, 0))
    return act()
  }

  async repeat(pause: readonly [least: number, most: number], act: () => Promise<void>): Promise<void> {
    while (!this.isOver) {
      await delay(between(...pause))
      await act()
    }
  }
}

interface Parts {
  readonly desk: Desk
  readonly bank: Bank
  readonly queue: Queue
}

/** More people than connections; resolves when all have gone home. */
async function peopleAtWork({ desk, bank, queue }: Parts, schedule: Schedule): Promise<void> {
  const several = (count: number, live: (number: number) => Promise<void>) =>
    Array.from({ length: count }, (_, number) => live(number))
  let producing = PEOPLE.producers
  await Promise.all([
    ...several(PEOPLE.users, number => {
      const user = desk.user(number)
      return schedule.repeat([10, 50], () => user.act())
    }),
    ...several(PEOPLE.bankers, () => schedule.repeat([10, 40], () => bank.transfer())),
    ...several(PEOPLE.producers, async () => {
      await schedule.repeat([5, 40], () => queue.push())
      producing -= 1
    }),
    ...several(PEOPLE.consumers, async () => {
      // Until a BLPOP comes back empty after the last producer has left.
      while ((await queue.pop()) || producing > 0);
    }),
  ])
}

/** The first moment in the second half at which a few wait. */
function reportOfABusyMoment(pool: Pool<Redis>, schedule: Schedule): Promise<string> {
  return schedule.at(0.52, async () => {
    while (!schedule.isOver && (pool.pending === 0 || pool.pending > 4)) await delay(1)
    return pool.report()
  })
}

async function tellProgress(
  pool: Pool<Redis>,
  ledger: Ledger,
  trouble: Troublemaker,
  schedule: Schedule,
  say: RunOptions['say'],
): Promise<void> {
  let before = 0
  for (let second = 1; second <= schedule.seconds; second++) {
    await schedule.at(second / schedule.seconds, () => {
      const { operations } = ledger
      const { size, max, borrowed, available, pending } = pool
      say(
        `${String(second).padStart(3)} s  ${String(operations).padStart(6)} served (${`+${operations - before}`.padStart(5)})` +
          `  ${String(trouble.done.kills.length).padStart(3)} killed  pool ${size}/${max}: ${borrowed} lent, ` +
          `${available} idle, ${String(pending).padStart(2)} waiting  ${trouble.news()}`,
      )
      before = operations
    })
  }
}

/** Whoever is not back by then hangs, and the ledger knows. */
async function withinLimit(people: Promise<void>): Promise<void> {
  const limit = new AbortController()
  await Promise.race([people, delay(HANG_MILLIS + 500, undefined, { signal: limit.signal }).catch(() => {})])
  limit.abort()
}

/** Does the sums, and removes the keys. */
async function settle(client: Redis, { desk, bank, queue }: Parts) {
  const visits = await desk.settle(client)
  const settled = { visits, bank: await bank.settle(client), queue: await queue.settle(client) }
  await client.del(...desk.keys, ...bank.keys, ...queue.keys)
  return settled
}

/** The server learns of a close a moment after us. */
async function untilNone(count: () => Promise<number>): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    if ((await count()) === 0) return 0
    await delay(20)
  }
  return count()
}
