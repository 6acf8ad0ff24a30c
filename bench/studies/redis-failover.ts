import { cpus } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import genericPool from 'generic-pool'
import { Redis } from 'ioredis'
import { createRedisPool } from '../../src/adapters/ioredis/index.ts'
import { type Borrow, type Load, startFixedAddress, startLoad } from '../../test/support/redis-load.ts'
import { startRedis } from '../../test/support/redis-server.ts'
import { startFleet } from '../../test/support/sentinels.ts'

/*
 * node .build/bench/studies/redis-failover.js [--rounds 3] [--only SIGKILL]      (after npm run compile)
 *
 * A primary is lost under a load of 16 writers and 8 connections: this pool beside generic-pool with ioredis, set up
 * as its documents recommend. Three sentinels with `down-after-milliseconds 1000`, or an address that stays and leads
 * to the other server from now on. Times are medians of the rounds in milliseconds.
 */

const option = (name: string): string | undefined => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}
const rounds = Number(option('rounds') ?? 3)
const MAX = 8
/** How long the load goes on after the primary is back, and how long it is waited for. Milliseconds. */
const AFTER_MILLIS = 1500
const PATIENCE_MILLIS = 20_000
const LATE_MILLIS = 500

interface Contender {
  readonly borrow: Borrow
  close(): Promise<unknown>
}

/** Where a pool is to connect: by way of sentinels, or to an address. */
type Target = { sentinels: { host: string; port: number }[]; name: string } | { port: number }

const CONTENDERS: Readonly<Record<string, (target: Target) => Contender>> = {
  'lifeguard-pool': target => {
    const pool = createRedisPool(target, { max: MAX, acquireTimeoutMillis: PATIENCE_MILLIS })
    return { borrow: work => pool.use(work), close: () => pool.close() }
  },
  'generic-pool + ioredis': target => bare(target, { failoverDetector: true }),
  'the same, no failoverDetector': target => bare(target, {}),
}

/** One client for each connection, which reconnects by itself; one that is not ready is not lent. */
function bare(target: Target, more: object): Contender {
  const create = async (): Promise<Redis> => {
    const client = new Redis({
      ...target,
      ...more,
      lazyConnect: true,
      connectTimeout: 2000,
      reconnectOnError: error => (error.message.startsWith('READONLY') ? 2 : false),
    })
    client.on('error', () => {})
    await client.connect()
    return client
  }
  const pool = genericPool.createPool(
    {
      create,
      destroy: async client => client.disconnect(),
      validate: async client => client.status === 'ready',
    },
    { max: MAX, testOnBorrow: true, acquireTimeoutMillis: PATIENCE_MILLIS },
  )
  // It tells of failed creates there, and goes on at once.
  pool.on('factoryCreateError', () => {})
  return {
    borrow: work => pool.use(work),
    close: async () => {
      await Promise.race([pool.drain(), pause(1000, undefined, { ref: false })])
      await Promise.race([pool.clear(), pause(1000, undefined, { ref: false })])
    },
  }
}

interface Outcome {
  /** From the loss to the first write on the new primary, to the 200th, and how far it is behind the switch. */
  readonly first: number
  readonly many: number
  readonly behind: number
  readonly hung: number
  readonly longest: number
  readonly late: number
  readonly errors: ReadonlyMap<string, number>
}

async function until(condition: () => boolean): Promise<boolean> {
  const deadline = performance.now() + PATIENCE_MILLIS
  while (!condition() && performance.now() < deadline) await pause(5)
  return condition()
}

async function outcomeOf(
  load: Load,
  ports: { old: number; next: number },
  lostAt: number,
  switchedAt: () => number,
  wake: () => void,
): Promise<Outcome> {
  const moved = () => load.writes.filter(({ port }) => port === ports.next)
  await until(() => moved().length >= 200)
  const hung = load.hung(1000)
  wake()
  await pause(AFTER_MILLIS)
  const ended = await load.stop(2000)
  const arrived = moved()
  return {
    first: (arrived[0]?.at ?? Number.NaN) - lostAt,
    many: (arrived[199]?.at ?? Number.NaN) - lostAt,
    behind: (arrived[0]?.at ?? Number.NaN) - switchedAt(),
    hung: Math.max(hung, ended ? 0 : load.hung(1000)),
    longest: load.longestMillis,
    late: load.writes.filter(({ port, at }) => port === ports.old && at > switchedAt() + LATE_MILLIS).length,
    errors: load.errors,
  }
}

async function bySentinels(
  fate: 'SIGKILL' | 'SIGSTOP' | 'FAILOVER',
  make: (target: Target) => Contender,
): Promise<Outcome> {
  const fleet = await startFleet()
  const { primary, replica, name } = fleet
  const contender = make({ sentinels: fleet.sentinels.map(({ host, port }) => ({ host, port })), name })
  const asked = new Redis(fleet.sentinels[2]?.port as number, { enableReadyCheck: false })
  const listener = asked.duplicate()
  let switchedAt = Number.POSITIVE_INFINITY
  await listener.subscribe('+switch-master')
  listener.on('message', () => {
    switchedAt = Math.min(switchedAt, performance.now())
  })
  const load = startLoad(contender.borrow)
  try {
    await until(() => load.writes.length > 500)
    const lostAt = performance.now()
    if (fate === 'FAILOVER') await asked.call('SENTINEL', 'FAILOVER', name)
    else primary.child.kill(fate)
    const ports = { old: primary.port, next: replica.port }
    return await outcomeOf(
      load,
      ports,
      lostAt,
      () => switchedAt,
      () => primary.child.kill('SIGCONT'),
    )
  } finally {
    asked.disconnect()
    listener.disconnect()
    await contender.close().catch(() => {})
    await fleet.stop()
  }
}

async function byAddress(make: (target: Target) => Contender): Promise<Outcome> {
  const [before, next] = await Promise.all([startRedis(), startRedis()])
  const fixed = await startFixedAddress(before.port)
  const admin = new Redis(before.port)
  const contender = make({ port: fixed.port })
  const load = startLoad(contender.borrow, fixed.targetOf)
  try {
    await until(() => load.writes.length > 500)
    fixed.target = next.port
    await admin.replicaof('127.0.0.1', next.port)
    const lostAt = performance.now()
    return await outcomeOf(
      load,
      { old: before.port, next: next.port },
      lostAt,
      () => lostAt,
      () => {},
    )
  } finally {
    admin.disconnect()
    await contender.close().catch(() => {})
    await fixed.stop()
    await Promise.all([before.stop(), next.stop()])
  }
}

const SCENES: Readonly<Record<string, (make: (target: Target) => Contender) => Promise<Outcome>>> = {
  'SIGKILL, sentinels': make => bySentinels('SIGKILL', make),
  'SIGSTOP, sentinels': make => bySentinels('SIGSTOP', make),
  'SENTINEL FAILOVER': make => bySentinels('FAILOVER', make),
  'REPLICAOF, fixed address': byAddress,
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] as number
const millis = (value: number): string => (Number.isFinite(value) ? String(Math.round(value)) : 'never')

console.log(
  `node ${process.version}, ${cpus().length} × ${cpus()[0]?.model.trim()}, Redis on loopback; ${rounds} rounds\n`,
)
const columns = ['first write', '200th write', 'behind switch', 'longest wait', 'hung', 'late writes']
console.log(`| | | ${columns.join(' | ')} | failed |\n| --- | --- | ${'---: | '.repeat(columns.length)}--- |`)
for (const [scene, run] of Object.entries(SCENES)) {
  if (!scene.includes(option('only') ?? '')) continue
  const outcomes = new Map(Object.keys(CONTENDERS).map(name => [name, [] as Outcome[]]))
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, make] of Object.entries(CONTENDERS)) outcomes.get(name)?.push(await run(make))
  }
  for (const [name, all] of outcomes) {
    const of = (what: 'first' | 'many' | 'behind' | 'longest') =>
      millis(median(all.map(outcome => outcome[what])))
    const sum = (what: 'hung' | 'late') => all.reduce((total, outcome) => total + outcome[what], 0)
    const errors = new Map<string, number>()
    for (const outcome of all)
      for (const [what, times] of outcome.errors) errors.set(what, (errors.get(what) ?? 0) + times)
    const failed = [...errors].map(([what, times]) => `${times} × ${what}`).join(', ') || 'none'
    console.log(
      `| ${scene} | ${name} | ${of('first')} | ${of('many')} | ${of('behind')} | ${of('longest')} | ${sum('hung')} | ${sum('late')} | ${failed} |`,
    )
  }
}
process.exit(0)
