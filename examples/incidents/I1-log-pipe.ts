import { execFileSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { guardedDirectory } from '../../test/support/orphan-guard.ts'
import { fdTarget, portCensus, rssBytes, sleepsIn } from '../../test/support/proc.ts'
import { Service, wallClock } from '../../test/support/service.ts'
import type { Memory } from './I1-service.ts'
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
 * I1 · stderr is a pipe that nobody reads.
 *
 * The post-mortem                                     What is printed here
 * ------------------------------------------------    --------------------------------------------------------------
 * fd 2 → a pipe whose reader had gone                 /proc/PID/fd/2 of the service: a pipe that nobody reads
 * all workers stuck in write(2), a debug print of     synchronous logger: where the only thread sleeps, no request served
 *   every statement
 * 10 000 CLOSE_WAIT, Recv-Q ≈ 300: one unread         connections to the service's port in CLOSE_WAIT once the proxy has
 *   request each                                        given up, and the bytes that nobody has read from them
 * it took a week to find                              seconds until the service said so itself
 *
 * In Node there is a second way to fail. process.stderr.write, and so console.error and debug, do not block on a pipe:
 * every line is kept in memory, without bound, and the process can no longer end by itself. So the unguarded run has
 * two services.
 */

const SIZES = {
  full: { heartbeats: 2000, afterwards: 100 },
  small: { heartbeats: 400, afterwards: 20 },
}
const CONCURRENCY = 20
/** The proxy's. Milliseconds. */
const PATIENCE = 1500
const END_MILLIS = 4000
/** More log than this in memory, with nobody to take it, is on its way to having no bound. */
const TOO_MUCH_BYTES = 2 * 2 ** 20
const MEGABYTE = 2 ** 20

export const incident: Incident = { id: 'I1', title: 'nobody reads the log of the process', play }

async function play(side: Side, stage: Stage): Promise<Seen> {
  if (side === 'with') return playOne('sink', stage)
  const sync = await playOne('sync', stage)
  const stream = await playOne('stream', stage)
  return {
    rows: [
      ['— a synchronous logger', ''],
      ...sync.rows,
      ['— debug, by way of process.stderr', ''],
      ...stream.rows,
    ],
    harm: [
      ...sync.harm.map(harm => `synchronous log: ${harm}`),
      ...stream.harm.map(harm => `stream: ${harm}`),
    ],
    unharmed: stream.unharmed,
  }
}

async function playOne(way: string, { redis, scale, say }: Stage): Promise<Seen> {
  const { heartbeats, afterwards } = SIZES[scale]
  const stderr = unreadPipe()
  const faultAt = wallClock()
  const service = await Service.start('I1-service', [way, redis.url], {
    stderr,
    env: { DEBUG: 'heartbeat:*,lifeguard-pool:*' },
  })
  try {
    const port = await service.call<number>('port')
    const pipe = fdTarget(service.pid, 2)
    const before = rssBytes(service.pid)
    const { served, failed } = await beat(port, heartbeats, 3)
    const after = rssBytes(service.pid)
    say(`${way}: ${served} heartbeats served, ${failed} given up by the proxy`)
    const later = await beat(port, afterwards, Number.POSITIVE_INFINITY)
    const census = portCensus(port)
    const alive = later.served > 0
    const memory = alive ? await service.call<Memory>('memory') : undefined
    const report = way === 'sink' ? await service.call<string>('report') : undefined
    const ended = alive && (await endsByItself(service))
    const queued = memory?.queued ?? 0
    const rows: Row[] = [
      ['fd 2 of the service', orUnknown(pipe)],
      ['heartbeats served / given up', `${served + later.served} / ${failed + later.failed}`],
      [
        'CLOSE_WAIT at its port, unread there',
        census ? `${census.closeWait}, ${census.unread} bytes` : orUnknown(undefined),
      ],
      ['where its only thread is', whereabouts(service, alive)],
      [
        'log kept in memory',
        alive
          ? `${(queued / MEGABYTE).toFixed(1)} MB, ${memory?.dropped ?? 0} lines dropped`
          : 'it does not answer',
      ],
      [
        'memory of the process',
        before && after ? `${toMegabytes(before)} MB, then ${toMegabytes(after)} MB` : orUnknown(undefined),
      ],
      ['ends by itself when asked to', ended ? 'yes' : 'no'],
    ]
    return {
      rows,
      harm: harmOf(
        [
          later.served === 0,
          `the loop stopped after ${served} heartbeats, ${census ? `${census.closeWait} sockets in CLOSE_WAIT` : 'no answers'}`,
        ],
        [alive && failed + later.failed > 0, `${failed + later.failed} heartbeats failed`],
        [queued > TOO_MUCH_BYTES, `${toMegabytes(queued)} MB of log in memory`],
        [alive && !ended, 'cannot end'],
        [!alive && service.hasEnded, 'the process died'],
      ),
      unharmed: `${served + later.served} heartbeats served, ${memory?.dropped ?? 0} log lines dropped and counted; the process ends when asked`,
      named: service.named(faultAt),
      report,
    }
  } finally {
    await service.kill()
    closeSync(stderr)
    await removeKey(redis.url, service.pid)
  }
}

function whereabouts(service: Service, alive: boolean): string {
  if (alive) return 'in the event loop'
  if (service.hasEnded) return 'the process has ended'
  const symbol = sleepsIn(service.pid)
  return symbol === undefined ? 'stuck' : `stuck, asleep in ${symbol}`
}

const toMegabytes = (bytes: number): string => (bytes / MEGABYTE).toFixed(0)

/** A pipe with an end to write to, and at the other one somebody who never reads: ourselves. */
function unreadPipe(): number {
  const path = join(guardedDirectory(), `pipe-${process.pid}-${Math.trunc(wallClock())}`)
  execFileSync('mkfifo', [path])
  return openSync(path, 'r+')
}

/** Heartbeats through a proxy that gives up; after so many in a row, it sends no more. */
async function beat(
  port: number,
  count: number,
  mostFailures: number,
): Promise<{ served: number; failed: number }> {
  const seen = { served: 0, failed: 0 }
  let left = count
  let inARow = 0
  const line = async () => {
    while (left > 0 && inARow < mostFailures) {
      left -= 1
      const ok = await request(port)
      inARow = ok ? 0 : inARow + 1
      if (ok) seen.served += 1
      else seen.failed += 1
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, line))
  return seen
}

function request(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const call = get({ host: '127.0.0.1', port, agent: false }, response => {
      response.resume().on('close', () => resolve(response.complete))
    })
    call.setTimeout(PATIENCE, () => call.destroy())
    call.on('error', () => {})
    call.on('close', () => resolve(false))
  })
}

async function endsByItself(service: Service): Promise<boolean> {
  await service.call('close')
  service.child.disconnect()
  return service.ends(END_MILLIS)
}

async function removeKey(url: string, pid: number): Promise<void> {
  const admin = new Redis(url)
  await admin.del(`lifeguard-incident:I1:${pid}`).finally(() => admin.disconnect())
}

await playIfStarted(incident, import.meta.url)
