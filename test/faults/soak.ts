/*
 * `npm run soak -- --minutes N` (default 2; `--seconds N` for less): pools under load on real servers, over plain TCP, TLS and
 * a Unix socket, with all faults, one after the other, over and over. Descriptors, heap and handles stay flat, nothing hangs,
 * nothing is uncaught, and after each fault all connections can be lent again.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { countSockets } from '../support/fds.ts'
import { ensureRedisBinary } from '../support/redis-binary.ts'
import { FAULTS } from './faults.ts'
import { FaultWorld, TRANSPORTS } from './world.ts'

const words = process.argv.slice(2)
const after = (flag: string): number | undefined => {
  const at = words.indexOf(flag)
  return at < 0 ? undefined : Number(words[at + 1])
}
const millis = 1000 * (after('--seconds') ?? 60 * (after('--minutes') ?? 2))
/** No acquire, command and release together take longer: 1500 ms each for a connection and an answer, and a busy machine. */
const HUNG_MILLIS = 10_000
/** No fault takes longer to strike or to end. */
const FAULT_MILLIS = 30_000
/** After the first round everything is loaded and warm. Beyond it the heap may grow by this part, and this much. */
const HEAP_PART = 1.25
const HEAP_BYTES = 6e6
const HANDLES = 4

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const wrong: string[] = []
for (const event of ['uncaughtException', 'unhandledRejection'] as const)
  process.on(event, (error: Error) => void wrong.push(`${event}: ${error?.stack ?? error}`))

interface Level {
  readonly sockets: number
  readonly descriptors: number
  readonly handles: number
  readonly heap: number
}

const collect = (globalThis as { gc?: () => void }).gc ?? (() => {})

async function level(): Promise<Level> {
  await delay(300)
  for (let round = 0; round < 3; round += 1) {
    collect()
    await delay(20)
  }
  const census = countSockets()
  return {
    sockets: census?.sockets ?? 0,
    descriptors: census?.fds ?? 0,
    handles: process.getActiveResourcesInfo().length,
    heap: process.memoryUsage().heapUsed,
  }
}

let calls = 0
let failures = 0
const errors = new Map<string, number>()

/** Calls as a service makes them, for as long as the world is under load. */
async function load(world: FaultWorld, isOver: () => boolean): Promise<void> {
  const { pool } = world
  while (!isOver()) {
    calls += 1
    const call = pool.use(async redis => {
      const answers = await redis.multi().incr('calls').get('calls').exec()
      return answers
    })
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'hung'>(resolve => {
      timer = setTimeout(resolve, HUNG_MILLIS, 'hung')
    })
    const end = await Promise.race([call.catch((error: Error & { code?: string }) => error), late])
    // One that is left would count as heap.
    clearTimeout(timer)
    if (end === 'hung') wrong.push(`a use has not settled after ${HUNG_MILLIS} ms`)
    if (end instanceof Error) {
      failures += 1
      const name = (end as { code?: string }).code ?? end.message.slice(0, 60)
      errors.set(name, (errors.get(name) ?? 0) + 1)
      await delay(5)
    }
    await delay(1)
  }
}

/** Waits for a step of a fault, which fails the run where it does not end. */
async function ended(name: string, step: void | Promise<void>): Promise<void> {
  const over = new AbortController()
  const late = delay(FAULT_MILLIS, 'late', { signal: over.signal }).catch(() => {})
  if ((await Promise.race([step, late])) === 'late') wrong.push(`${name} took longer than ${FAULT_MILLIS} ms`)
  over.abort()
}

/** Each fault that this transport has, once. */
async function round(world: FaultWorld, isOver: () => boolean): Promise<void> {
  const isUnix = world.pool !== undefined && world.proxy !== undefined && 'path' in world.proxy.address
  for (const fault of FAULTS) {
    if (fault.inNetwork || (fault.onlyTcp && isUnix)) continue
    if (isOver()) return
    await ended(fault.name, fault.strike(world))
    await delay(150)
    await ended(`the end of ${fault.name}`, fault.lift?.(world))
    const until = performance.now() + HUNG_MILLIS
    for (;;) {
      const served = await world.pool
        .use(redis => redis.set('after', fault.name))
        .then(
          () => true,
          () => false,
        )
      if (served) break
      if (performance.now() > until) {
        wrong.push(`not served ${HUNG_MILLIS} ms after ${fault.name}: ${world.pool.report()}`)
        break
      }
      await delay(20)
    }
  }
}

const binary = await ensureRedisBinary()
if ('missing' in binary) {
  say(`skipped: ${binary.missing}`)
  process.exit()
}
const until = performance.now() + millis
const worlds: FaultWorld[] = []
for (const transport of TRANSPORTS) {
  const world = await FaultWorld.open(transport, false)
  if (typeof world === 'string') throw new Error(world)
  worlds.push(world)
}
const levels: Level[] = []
let rounds = 0
while (performance.now() < until) {
  let isOver = false
  const loads = worlds.flatMap(world => [1, 2, 3, 4, 5].map(() => load(world, () => isOver)))
  await Promise.all(worlds.map(world => round(world, () => performance.now() > until + 5000)))
  isOver = true
  await Promise.all(loads)
  // The server is asked once more by everybody, so that each round ends with the same connections.
  for (const { pool } of worlds)
    await Promise.all([1, 2, 3].map(() => pool.use(redis => redis.ping()).catch(() => {})))
  rounds += 1
  levels.push(await level())
  const { sockets, descriptors, handles, heap } = levels.at(-1) as Level
  say(
    `round ${rounds}: ${calls} calls, ${failures} failed; ${descriptors} descriptors (${sockets} sockets), ` +
      `${handles} handles, ${(heap / 1e6).toFixed(1)} MB of heap`,
  )
}
const first = levels[Math.min(1, levels.length - 1)] as Level
const last = levels.at(-1) as Level
// Connections that the pool has no reason to end may be there in one round and not in another: at most `max` in each pool.
const spare = 6 * worlds.length
if (last.descriptors > first.descriptors + spare)
  wrong.push(`descriptors: ${first.descriptors} → ${last.descriptors}`)
if (last.handles > first.handles + HANDLES + spare) wrong.push(`handles: ${first.handles} → ${last.handles}`)
if (last.heap > first.heap * HEAP_PART + HEAP_BYTES) wrong.push(`heap: ${first.heap} → ${last.heap}`)
for (const { pool } of worlds) await pool.close().catch(() => {})
for (const world of worlds) {
  for (let tries = 0; world.opened > 0 && tries < 100; tries += 1) await delay(20)
  if (world.opened !== 0) wrong.push(`${world.opened} connections were not ended`)
  await world.stop()
}
say([...errors].map(([name, count]) => `${count} × ${name}`).join('; '))
for (const each of wrong) say(each)
say(`${rounds} rounds of ${FAULTS.length} faults over ${TRANSPORTS.join(', ')}: ${wrong.length} things wrong`)
process.exit(wrong.length > 0 ? 1 : 0)
