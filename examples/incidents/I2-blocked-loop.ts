import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { portCensus } from '../../test/support/proc.ts'
import { Service, until, wallClock } from '../../test/support/service.ts'
import { Balancer, type Upstream } from './I2-balancer.ts'
import type { NodeState } from './I2-node.ts'
import { playIfStarted } from './support/alone.ts'
import { harmOf, type Incident, orUnknown, type Seen, type Side, type Stage } from './support/incident.ts'

/*
 * I2 · One synchronous call stops the loop, and the outage spreads to the next node.
 *
 * The post-mortem                                     What is printed here
 * ------------------------------------------------    --------------------------------------------------------------
 * urllib2, a synchronous client, in a coroutine       a handler sleeps in Atomics.wait until the third party answers
 * OpenResty in front, which times out and closes      a small balancer, which takes a node out after an error
 * hundreds of CLOSE_WAITs on the node                 most connections to a node's port in CLOSE_WAIT, and their Recv-Q
 * requests failed over to the next node, which fell   how often each node was taken out, and what users saw
 *   the same way
 *
 * What the pool has to do with it: Node runs timers before it polls. After the block every acquire timeout and every
 * PING timeout fires although the replies already lie in the kernel. Requests fail that had all they needed, healthy
 * connections are thrown away, the balancer takes the node out, and its load goes to the other one.
 *
 * What no pool can do: answer while the loop stands still. The block here is shorter than the balancer's patience.
 */

/** To Redis: what is on its way there and back as the loop stops is what the incident is about. */
const ONE_WAY_MILLIS = 3
const READS_A_PAGE = 12
const PAGE_EVERY_MILLIS = 1200
const THIRD_PARTY_MILLIS = { healthy: 20, slow: 1000 }
const PATIENCE_MILLIS = 2500
const FAIL_TIMEOUT_MILLIS = 4000
const BALANCER = { patience: PATIENCE_MILLIS, failTimeout: FAIL_TIMEOUT_MILLIS }
const RELOAD_AFTER_MILLIS = 300
const MOST_RELOADS = 3
const PAGES = { full: { healthy: 1, slow: 5 }, small: { healthy: 1, slow: 2 } }
const KEY = 'lifeguard-incident:I2'

export const incident: Incident = { id: 'I2', title: 'a synchronous call blocks the event loop', play }

async function play(side: Side, stage: Stage): Promise<Seen> {
  const distance = await Service.start('I2-distance', [stage.redis.url, String(ONE_WAY_MILLIS)])
  const url = await distance.call<string>('url')
  const words = (name: string) => [side, url, `node ${name}`]
  const nodes = await Promise.all(['A', 'B'].map(name => Service.start('I2-node', words(name))))
  try {
    const ports = await Promise.all(nodes.map(node => node.call<number>('port')))
    const upstreams = ports.map((port, index) => ({ name: `node ${'AB'[index]}`, port }))
    const thirdParty = (millis: number) => Promise.all(nodes.map(node => node.call('thirdParty', millis)))
    await thirdParty(THIRD_PARTY_MILLIS.healthy)
    await warmUp(upstreams)
    const balancer = new Balancer(upstreams, BALANCER)
    const users = new Users(balancer)
    const watch = new PortWatch(ports)
    const { healthy, slow } = PAGES[stage.scale]
    await users.visit(healthy)
    const before = { ...users.seen }
    stage.say(
      `healthy: ${before.served} requests served, ${before.failed} failed; now the third party takes ${THIRD_PARTY_MILLIS.slow} ms`,
    )
    await thirdParty(THIRD_PARTY_MILLIS.slow)
    const faultAt = wallClock()
    const thrownBefore = await thrownAwayBy(nodes)
    await users.visit(slow)
    const state = await Promise.all(nodes.map(node => node.call<NodeState>('state')))
    const thrownAway = (await thrownAwayBy(nodes)) - thrownBefore
    const served = users.seen.served - before.served
    const failed = users.seen.failed - before.failed
    watch.stop()
    const error = state.flatMap(one => one.errors).sort(([, a], [, b]) => b - a)[0]
    const outs = balancer.marked.filter(([, times]) => times > 0)
    return {
      rows: [
        ['what users saw: served / failed', `${served} / ${failed}, ${users.reloads} pages reloaded`],
        [
          'balancer: timeouts, errors of nodes',
          `${balancer.timeouts}, ${balancer.errors}${error ? ` (${error[1]} × ${error[0].slice(0, 60)})` : ''}`,
        ],
        [
          'nodes taken out by the balancer',
          outs.map(([name, times]) => `${name} ${times}×`).join(', ') || 'none',
        ],
        ['connections thrown away meanwhile', thrownAway],
        [
          'most CLOSE_WAIT at the ports of the nodes',
          watch.most === undefined ? orUnknown(undefined) : `${watch.most}, ${watch.unread} bytes unread`,
        ],
      ],
      harm: harmOf(
        [failed > 0, `${failed} of ${served + failed} requests failed`],
        [thrownAway > 0, `${thrownAway} healthy connections thrown away`],
        [outs.length > 0, `${outs.map(([name]) => name).join(' and ')} taken out of service`],
      ),
      unharmed: `all ${served} requests served, no node taken out of service`,
      named: nodes.map(node => node.named(faultAt)).find(named => named !== undefined),
      report: side === 'with' ? await nodes[0]?.call<string>('report') : undefined,
    }
  } finally {
    await Promise.all(nodes.map(node => node.kill()))
    await distance.kill()
    await tidy(stage.redis.url)
  }
}

/** Connections for everybody, and code that is compiled, before anything is slow. */
async function warmUp(upstreams: readonly Upstream[]): Promise<void> {
  let inARow = 0
  await until(async () => {
    inARow = (await new Users(new Balancer(upstreams, BALANCER)).load()) ? inARow + 1 : 0
    return inARow === 3
  }, 15_000)
}

async function thrownAwayBy(nodes: readonly Service[]): Promise<number> {
  const state = await Promise.all(nodes.map(node => node.call<NodeState>('state')))
  return state.reduce((sum, { thrownAway }) => sum + thrownAway, 0)
}

/** People who open pages, and reload a page that came back broken, and so pay again. */
class Users {
  readonly seen = { served: 0, failed: 0 }
  reloads = 0
  readonly #balancer: Balancer

  constructor(balancer: Balancer) {
    this.#balancer = balancer
  }

  /** Pages at a steady rate, whatever becomes of them. Resolves when all is over. */
  async visit(pages: number): Promise<void> {
    const all: Promise<void>[] = []
    for (let page = 0; page < pages; page++) {
      all.push(this.#page())
      await delay(PAGE_EVERY_MILLIS)
    }
    await Promise.all(all)
  }

  async #page(): Promise<void> {
    for (let loads = 0; !(await this.load()) && loads < MOST_RELOADS; loads++) {
      this.reloads += 1
      await delay(RELOAD_AFTER_MILLIS)
    }
  }

  /** What a page asks for at once. @returns whether all of it came */
  async load(): Promise<boolean> {
    const paths = [...Array.from({ length: READS_A_PAGE }, () => '/read'), '/pay']
    const statuses = await Promise.all(paths.map(path => this.#balancer.request(path)))
    const failed = statuses.filter(status => status >= 400).length
    this.seen.failed += failed
    this.seen.served += statuses.length - failed
    return failed === 0
  }
}

/** Looks at the ports of the nodes from outside, in the middle of each block. */
class PortWatch {
  most: number | undefined
  unread = 0
  readonly #timer: NodeJS.Timeout

  constructor(ports: readonly number[]) {
    this.#timer = setInterval(() => {
      const census = portCensus(...ports)
      if (census === undefined) return
      this.most = Math.max(this.most ?? 0, census.closeWait)
      this.unread = Math.max(this.unread, census.unread)
    }, PAGE_EVERY_MILLIS / 2)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

async function tidy(url: string): Promise<void> {
  const admin = new Redis(url)
  await admin.del(KEY).finally(() => admin.disconnect())
}

await playIfStarted(incident, import.meta.url)
