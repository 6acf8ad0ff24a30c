import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { countSockets } from '../../test/support/fds.ts'
import { type Peer, startPeer } from '../../test/support/half-closing-peer.ts'
import { ensureRedisBinary, startRedis } from '../../test/support/redis-server.ts'
import { type Named, Service, until, wallClock } from '../../test/support/service.ts'
import type { Requests } from './I0-service.ts'
import { playIfStarted } from './support/alone.ts'
import {
  harmOf,
  type Incident,
  orUnknown,
  type Row,
  type Seen,
  type Side,
  type Stage,
} from './support/incident.ts'

/*
 * I0 · Redis `timeout`, CLOSE_WAIT and a connection that nobody looks at.
 *
 * The post-mortem                                     What is printed here
 * ------------------------------------------------    --------------------------------------------------------------
 * the server had `timeout 1200`                       a redis-server of our own with `timeout 1`
 * lsof: an fd to :6379 in CLOSE_WAIT                  sockets of the service's process in CLOSE_WAIT, from /proc
 * the pool looks at a connection only when it is      nobody acquires while the operator counts them, a second apart
 *   next used, and that one never was
 * 100 % CPU in epoll_wait                             CPU of the service meanwhile. Node's own loop does not spin on a
 *                                                     half-closed socket: here the leak is silent, in fds
 * MySQL's sibling: "server has gone away" for the     the first requests after the loop stood still while the server
 *   first borrower                                    closed: flags still say that all is well
 *
 * Node closes a half-closed socket by itself if it flows. It stays in CLOSE_WAIT when unread data lies in front of the
 * FIN (a farewell as MySQL 8 sends it, to a client that reads only what it asks for), and when writes cannot be flushed.
 */

interface Sizes {
  readonly redis: number
  readonly peers: number
  readonly uploads: number
}
const SIZES = { full: { redis: 20, peers: 40, uploads: 4 }, small: { redis: 6, peers: 10, uploads: 1 } }
const WATCH_MILLIS = 1000

export const incident: Incident = { id: 'I0', title: 'the server closes idle connections', play }

async function play(side: Side, stage: Stage): Promise<Seen> {
  const sizes = SIZES[stage.scale]
  const binary = await ensureRedisBinary()
  // `timeout` belongs to the server's configuration: never changed on a server that is the user's.
  const redis = 'path' in binary ? await startRedis({ timeout: '1' }) : undefined
  const peer = await startPeer()
  const words = [side, redis?.url ?? '-', String(peer.port)]
  const service = await Service.start('I0-service', words)
  try {
    const closing = redis ? await whileBlocked(service, redis.url, sizes, stage) : undefined
    const unread = await withUnreadData(service, peer, sizes, stage)
    const unflushed = await withUnflushedWrites(service, peer, sizes, stage)
    const report = side === 'with' ? await service.call<string>('report') : undefined
    return {
      rows: [
        ...(closing?.rows ?? [['redis-server', 'none here: the blocked loop is left out'] as const]),
        ...unread.rows,
        ...unflushed.rows,
      ],
      harm: [...(closing?.harm ?? []), ...unread.harm, ...unflushed.harm],
      unharmed: `0 of ${sizes.peers + sizes.uploads} left in CLOSE_WAIT, ${(closing?.served ?? 0) + unread.served} requests served`,
      named: slowest(closing?.named, unread.named),
      report,
    }
  } finally {
    await service.kill()
    await peer.stop()
    await redis?.stop()
  }
}

interface Scene {
  readonly rows: Row[]
  readonly harm: string[]
  readonly served: number
  readonly named?: Named | undefined
}

function slowest(...all: readonly (Named | undefined)[]): Named | undefined {
  return all.reduce((a, b) => (a === undefined || (b !== undefined && b.seconds > a.seconds) ? b : a))
}

const closeWaitOf = (service: Service): number | undefined => {
  const census = countSockets(service.pid)
  return census && (census.tcp.CLOSE_WAIT ?? 0)
}

/** The server's idle limit strikes while the loop is blocked by a synchronous call. */
async function whileBlocked(
  service: Service,
  url: string,
  { redis: count }: Sizes,
  { say }: Stage,
): Promise<Scene> {
  const admin = new Redis(url)
  const clients = async () =>
    String(await admin.call('CLIENT', 'LIST'))
      .split('\n')
      .filter(line => line !== '').length - 1
  try {
    const answer = service.call<Requests>('blockedRequests', count)
    await until(async () => (await clients()) >= count, 5000)
    say(`${count} connections to Redis are idle, and a synchronous call blocks the loop`)
    await until(async () => (await clients()) === 0, 8000, 50)
    const faultAt = wallClock()
    const duringBlock = closeWaitOf(service)
    service.child.stdin?.write('.')
    const { served, failed } = await answer
    // The server is asked for its limit soon after the first connection; a blocked loop has not come to it.
    await until(() => service.named(faultAt, "'redis'") !== undefined, 500)
    return {
      named: service.named(faultAt, "'redis'"),
      served,
      rows: [
        ['CLOSE_WAIT while the loop was blocked', orUnknown(duringBlock)],
        [
          'requests right after: served / failed',
          `${served} / ${failed.length}${failed[0] ? ` (${failed[0]})` : ''}`,
        ],
      ],
      harm: harmOf([failed.length > 0, `${failed.length} of ${count} requests got a dead connection`]),
    }
  } finally {
    admin.disconnect()
  }
}

/** The server says goodbye and closes; the service does not use these connections again. */
async function withUnreadData(
  service: Service,
  peer: Peer,
  { peers: count }: Sizes,
  { say }: Stage,
): Promise<Scene> {
  await service.call('warmPeers', count)
  say(`another server closes ${count} idle connections with a farewell; nobody acquires`)
  const faultAt = wallClock()
  await peer.sayGoodbye()
  const cpuBefore = service.cpu
  await delay(WATCH_MILLIS)
  const cpu = cpuBefore === undefined ? undefined : (service.cpu ?? 0) - cpuBefore
  const stuck = closeWaitOf(service)
  // What the server sees, where there is no /proc: connections that the client has not closed.
  const open = peer.open
  const { served, failed } = await service.call<Requests>('askPeers', count)
  return {
    named: service.named(faultAt, "'peers'"),
    served,
    rows: [
      ['CLOSE_WAIT a second later, nobody acquiring', orUnknown(stuck)],
      ['  not closed by the service, says the server', open],
      [
        '  CPU of the service meanwhile',
        cpu === undefined ? orUnknown(cpu) : `${((100 * cpu) / WATCH_MILLIS).toFixed(0)} %`,
      ],
      ['requests then: served / failed', `${served} / ${failed.length}${failed[0] ? ` (${failed[0]})` : ''}`],
    ],
    harm: harmOf(
      [open > 0, `${stuck ?? open} sockets stay in CLOSE_WAIT`],
      [failed.length > 0, `${failed.length} of ${count} requests failed on them`],
    ),
  }
}

/** The server stops reading in the middle of an upload and closes its side. */
async function withUnflushedWrites(
  service: Service,
  peer: Peer,
  { uploads: count }: Sizes,
  { say }: Stage,
): Promise<Scene> {
  const uploads = () => service.call<{ running: number; failed: string[] }>('uploads')
  const before = peer.halfClosed
  await service.call('upload', count)
  await until(() => peer.halfClosed - before >= count, 5000)
  say(`the server has closed its side of ${count} uploads, and reads no more`)
  await until(async () => (await uploads()).running === 0, 2.5 * WATCH_MILLIS, 50)
  const { running, failed } = await uploads()
  const stuck = closeWaitOf(service)
  return {
    served: 0,
    rows: [
      ['uploads that hang / failed', `${running} / ${failed.length}${failed[0] ? ` (${failed[0]})` : ''}`],
      ['CLOSE_WAIT now', orUnknown(stuck)],
    ],
    harm: harmOf([running > 0, `${running} of ${count} uploads hang`]),
  }
}

await playIfStarted(incident, import.meta.url)
