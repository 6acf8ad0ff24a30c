import { Redis } from 'ioredis'
import { addressOf } from '../../test/support/ping.ts'
import { type FoundRedis, startRedis } from '../../test/support/redis-server.ts'
import { Service, until, wallClock } from '../../test/support/service.ts'
import type { Progress } from './I3-service.ts'
import { playIfStarted } from './support/alone.ts'
import { harmOf, type Incident, orUnknown, type Seen, type Side, type Stage } from './support/incident.ts'

/*
 * I3 · 300 requests hold a connection each and wait for a second one.
 *
 * The post-mortem                                     What is printed here
 * ------------------------------------------------    --------------------------------------------------------------
 * redigo, MaxActive 300, Wait true                    a pool of 300 whose acquire waits without a deadline
 * 300 goroutines inside getBar, each calling getFoo   300 requests inside getBar before the first calls getFoo
 * a million goroutines blocked in Pool.get            who waits: acquires pending, connections borrowed; nobody served
 * I/O timeouts did not help: no I/O was under way     CPU of the service while all stand still
 * no handler ever reached its close                   later requests, which need one connection only, served
 *
 * The guarded run may reject one request, so that the others go on: its error draws the circle.
 */

const SIZES = { full: { tasks: 300, singles: 50 }, small: { tasks: 40, singles: 10 } }
/** Nobody served for so long, with an idle processor: that is standing still. */
const STILL_MILLIS = 2000

export const incident: Incident = {
  id: 'I3',
  title: 'requests hold one connection and wait for another',
  play,
}

async function play(side: Side, stage: Stage): Promise<Seen> {
  const { tasks, singles } = SIZES[stage.scale]
  const own = await ownServer(stage.redis, tasks)
  const service = await Service.start('I3-service', [side, own?.url ?? stage.redis.url, String(tasks)])
  const progress = () => service.call<Progress>('progress')
  try {
    await service.call('spike', tasks)
    await until(async () => (await progress()).inside === tasks, 20_000, 25)
    stage.say(`${tasks} requests hold a connection each and now want a second`)
    const faultAt = wallClock()
    const cpuBefore = service.cpu
    await service.call('letGo')
    const settledAt = await untilSettledOrStill(progress, tasks)
    const cpu = cpuBefore === undefined ? undefined : (service.cpu ?? 0) - cpuBefore
    const { served, failed, borrowed, pending } = await progress()
    await service.call('singles', singles)
    const answered = () => service.call<number>('singlesServed')
    await until(async () => (await answered()) === singles, 1500, 25)
    const later = await answered()
    if (later > 0) await service.call('tidy')
    const after =
      settledAt === undefined
        ? `standing still for ${STILL_MILLIS / 1000} s`
        : `${((settledAt - faultAt) / 1000).toFixed(2)} s later`
    const waiting = tasks - served - failed.length
    return {
      rows: [
        [`${after}: served / failed / waiting`, `${served} / ${failed.length} / ${waiting}`],
        ['connections borrowed, acquires pending', `${borrowed} of ${tasks}, ${pending}`],
        ['CPU used meanwhile', cpu === undefined ? orUnknown(cpu) : `${cpu} ms`],
        [`later requests for one connection, served`, `${later} of ${singles}`],
      ],
      harm: harmOf(
        [waiting > 0, `${waiting} of ${tasks} requests wait for ever`],
        [failed.length > 1, `${failed.length} of ${tasks} requests failed`],
        [later < singles, `${singles - later} of ${singles} later requests, too`],
      ),
      unharmed: `${served} of ${tasks} served, ${failed.length} rejected for them; ${later} of ${singles} later requests served`,
      named: service.named(faultAt),
    }
  } finally {
    // It is stuck; only the process that was started here is ended, by its id.
    await service.kill()
    if (own !== undefined) await own.stop()
    else if (stage.redis.real) await removeKey(stage.redis.url, service.pid)
  }
}

/** When the last request was served or refused; undefined when nobody has been for a while. */
async function untilSettledOrStill(
  progress: () => Promise<Progress>,
  tasks: number,
): Promise<number | undefined> {
  let last = -1
  let movedAt = wallClock()
  for (;;) {
    let settled = 0
    await until(
      async () => {
        const { served, failed } = await progress()
        settled = served + failed.length
        return settled !== last
      },
      STILL_MILLIS,
      10,
    )
    if (settled === tasks) return wallClock()
    if (settled === last && wallClock() - movedAt >= STILL_MILLIS) return undefined
    if (settled !== last) movedAt = wallClock()
    last = settled
  }
}

/** A second server, where the user's own would not take so many clients. */
async function ownServer(redis: FoundRedis, tasks: number) {
  if (!redis.real || 'path' in addressOf(redis.url)) return undefined
  const admin = new Redis(redis.url)
  try {
    const info = await admin.info('clients')
    const most = Number(/^maxclients:(\d+)/m.exec(info)?.[1] ?? 10_000)
    return most > 2 * tasks ? undefined : await startRedis()
  } finally {
    admin.disconnect()
  }
}

/** The stuck service cannot tidy up after itself. */
async function removeKey(url: string, pid: number): Promise<void> {
  const admin = new Redis(url)
  await admin.del(`lifeguard-incident:I3:${pid}`).finally(() => admin.disconnect())
}

await playIfStarted(incident, import.meta.url)
