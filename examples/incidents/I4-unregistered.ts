import { setTimeout as delay } from 'node:timers/promises'
import { startEmbeddedRedis } from '../../test/support/embedded-redis.ts'
import { countSockets } from '../../test/support/fds.ts'
import { LATE_MILLIS, type Manner, startGate } from '../../test/support/redis-gate.ts'
import { ensureRedisBinary, startRedis } from '../../test/support/redis-server.ts'
import { type Named, Service, until, wallClock } from '../../test/support/service.ts'
import type { Checked, Target } from './I4-service.ts'
import { playIfStarted } from './support/alone.ts'
import { harmOf, type Incident, orUnknown, type Seen, type Side, type Stage } from './support/incident.ts'

/*
 * I4 · The connection exists, what follows fails, and nobody owns it.
 *
 * The post-mortem                                     What is printed here
 * ------------------------------------------------    --------------------------------------------------------------
 * accept() succeeded, registration threw, the catch   connecting succeeds; then the answer is no Redis at all, AUTH,
 *   logged and carried on                               SELECT or the init hook fails, or it comes too late
 * the socket existed, no one watched it               accepted and still open, says the server, beside what the pool
 *                                                       believes to own
 * health checks every few seconds made it grow        health checks every 4 ms; fds of the service before and after
 * the CLOSE_WAIT stayed until the process died        open a while after the last health check
 *
 * Always on servers of our own: the unguarded run would flood a user's.
 */

/** What follows a connect, and fails. */
interface Flavour {
  readonly name: string
  readonly manner: Manner
  readonly options: Target
}
const PASSWORD = 'right'
const FLAVOURS: readonly Flavour[] = [
  { name: 'handshake', manner: 'stranger', options: {} },
  { name: 'AUTH', manner: 'through', options: { password: 'wrong' } },
  { name: 'SELECT', manner: 'through', options: { db: 99 } },
  { name: 'init hook', manner: 'through', options: { looks: true } },
  { name: 'late arrival', manner: 'late', options: {} },
]
const SIZES = { full: { millis: 800, enough: 150 }, small: { millis: 300, enough: 30 } }

export const incident: Incident = { id: 'I4', title: 'a login fails, and its socket stays open', play }

interface Leak {
  readonly name: string
  readonly accepted: number
  readonly mostOpen: number
  /** Still open after the health checks have ended, and what of that the pool believes to own. */
  readonly open: number
  readonly owned: number
  readonly checks: number
  readonly fds: number | undefined
  readonly named: Named | undefined
  readonly report: string
}

const most = (all: readonly (number | undefined)[]): number | undefined =>
  all.reduce((a, b) => (a === undefined || b === undefined ? undefined : Math.max(a, b)))

async function play(side: Side, stage: Stage): Promise<Seen> {
  const redis = await ownRedis()
  const service = await Service.start('I4-service', [side])
  try {
    // An answer: it has started, and has the descriptors that every process has.
    await service.call('stop')
    const before = countSockets(service.pid)?.fds
    const leaks: Leak[] = []
    for (const flavour of FLAVOURS) leaks.push(await check(service, redis.port, flavour, stage))
    const lost = leaks.reduce((sum, { open, owned }) => sum + Math.max(open - owned, 0), 0)
    return {
      rows: [
        ...leaks.map(
          ({ name, accepted, open, owned, checks, mostOpen }) =>
            [
              `${name} fails: accepted, open at the end, owned`,
              `${accepted}, ${open}, ${owned} (${checks} checks, at most ${mostOpen} open)`,
            ] as const,
        ),
        [
          'fds of the service before, at most',
          `${orUnknown(before)}, ${orUnknown(most(leaks.map(one => one.fds)))}`,
        ],
      ],
      harm: harmOf([
        lost > 0,
        `${lost} open sockets that nobody owns (${leaks
          .filter(one => one.open > one.owned)
          .map(one => one.name)
          .join(', ')})`,
      ]),
      unharmed: `0 left open; ${leaks.reduce((sum, one) => sum + one.accepted, 0)} connections accepted, all closed`,
      named: slowest(leaks.map(one => one.named)),
      report:
        side === 'with'
          ? leaks.map(one => one.report.split('\n').slice(0, 3).join('\n')).join('\n')
          : undefined,
    }
  } finally {
    await service.kill()
    await redis.stop()
  }
}

async function check(
  service: Service,
  redisPort: number,
  { name, manner, options }: Flavour,
  { scale, say }: Stage,
): Promise<Leak> {
  const { millis, enough } = SIZES[scale]
  const gate = await startGate(redisPort, manner)
  try {
    const faultAt = wallClock()
    await service.call('start', { host: '127.0.0.1', port: gate.port, password: PASSWORD, ...options })
    // A leak that is large enough to be seen need not take the whole machine.
    await until(() => gate.open >= enough, millis)
    const { checks, owned, report } = await service.call<Checked>('stop')
    // What is under way may still end well.
    await delay(2 * LATE_MILLIS)
    const { accepted, mostOpen, open } = gate
    const fds = countSockets(service.pid)?.fds
    say(`${name} failed after connecting: ${accepted} accepted, ${open} of them still open`)
    return {
      name,
      fds,
      accepted,
      mostOpen,
      open,
      owned,
      checks,
      named: service.named(faultAt, `port ${gate.port}`),
      report,
    }
  } finally {
    await gate.stop()
  }
}

/** The cause of each kind is named on its own; undefined if one never was. */
function slowest(all: readonly (Named | undefined)[]): Named | undefined {
  return all.reduce((a, b) => (a && b ? (b.seconds > a.seconds ? b : a) : undefined))
}

async function ownRedis(): Promise<{ port: number; stop(): Promise<void> }> {
  return 'path' in (await ensureRedisBinary())
    ? startRedis({ requirepass: PASSWORD })
    : startEmbeddedRedis({ password: PASSWORD })
}

await playIfStarted(incident, import.meta.url)
