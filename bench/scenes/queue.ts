import { POOLS, poolOf, WITH_DEADLINE } from '../contenders/pools.ts'
import type { Scene } from './scene.ts'
import { cpuMicros, elsewhere, heapUsed, longestPause, turn } from './timing.ts'

const crowdOf = (quick: boolean): number => (quick ? 10_000 : 100_000)
const inWords = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, ' ')
const GROUP = 'queue'
const TIMEOUT_MILLIS = 1000
/** V8 compiles what makes waiters in the first two. */
const WARM_UP_WAVES = 2
/** So many, as one alone tells whether the collector happened to run in it. */
const WAVES = 4

/** All acquires wait on a full pool of one; then its connection serves them all. */
const served: Scene = {
  group: GROUP,
  contenders: POOLS,
  rounds: 3,
  async run(contender, quick) {
    const crowd = crowdOf(quick)
    const pool = poolOf(contender, { max: 1, timeoutMillis: 60_000 })
    const held = await elsewhere(() => pool.acquire())
    const waiting = new Array<Promise<unknown> | undefined>(crowd).fill(undefined)
    let [enqueue, handOff, bytes] = [0, 0, 0]
    for (let wave = 0; wave < WARM_UP_WAVES + WAVES; wave += 1) {
      const resource = wave === 0 ? held : await elsewhere(() => pool.acquire())
      // Memory is looked at between asking and handing over.
      const before = heapUsed()
      let start = cpuMicros()
      for (let asked = 0; asked < crowd; asked += 1) waiting[asked] = pool.acquire()
      const asking = cpuMicros() - start
      const taken = heapUsed() - before
      for (let asked = 0; asked < crowd; asked += 1) {
        waiting[asked] = (waiting[asked] as ReturnType<typeof pool.acquire>).then(next => {
          pool.release(next)
        })
      }
      start = cpuMicros()
      pool.release(resource)
      await Promise.all(waiting)
      const serving = cpuMicros() - start
      waiting.fill(undefined)
      await turn()
      if (wave < WARM_UP_WAVES) continue
      enqueue += asking / WAVES
      handOff += serving / WAVES
      bytes += taken / WAVES
    }
    const title = `queue of ${inWords(crowd)}`
    return [
      { row: `${title}: enqueue, per waiter`, unit: 'ns', value: (enqueue * 1000) / crowd },
      { row: `${title}: hand-off, per waiter`, unit: 'ns', value: (handOff * 1000) / crowd },
      { row: `${title}: memory of a waiter`, unit: 'B', value: bytes / crowd },
    ]
  },
}

/** The deadlines of all who wait, in one moment. */
const allTimeOut: Scene = {
  group: GROUP,
  contenders: WITH_DEADLINE,
  base: 'generic-pool + timeout',
  rounds: 3,
  patience: 10_000,
  async run(contender, quick) {
    const crowd = crowdOf(quick)
    const pool = poolOf(contender, { max: 1, timeoutMillis: TIMEOUT_MILLIS })
    await elsewhere(() => pool.acquire())
    const pause = await longestPause(async () => {
      const outcomes: Promise<unknown>[] = []
      const end = performance.now() + TIMEOUT_MILLIS * 0.9
      for (let asked = 0; asked < crowd; asked += 1) {
        outcomes.push(pool.acquire().catch(() => undefined))
        // In portions, so that the asking is not what is measured.
        if (asked % 1000 === 999 && performance.now() < end) await turn()
      }
      await Promise.all(outcomes)
    })
    return [{ row: `queue of ${inWords(crowd)}: all time out, longest pause`, unit: 'ms', value: pause }]
  },
}

/** One signal behind all who wait. Only ours takes one. */
const allAborted: Scene = {
  group: GROUP,
  contenders: ['lifeguard-pool'],
  rounds: 3,
  async run(contender, quick) {
    const crowd = crowdOf(quick)
    const pool = poolOf(contender, { max: 1, timeoutMillis: 60_000 })
    await elsewhere(() => pool.acquire())
    const caller = new AbortController()
    const outcomes: Promise<unknown>[] = []
    for (let asked = 0; asked < crowd; asked += 1) {
      outcomes.push(pool.acquire({ signal: caller.signal }).catch(() => undefined))
    }
    await turn()
    const start = cpuMicros()
    const pause = await longestPause(async () => {
      caller.abort()
      await Promise.all(outcomes)
    })
    const title = `queue of ${inWords(crowd)}: all aborted`
    return [
      { row: `${title}, per waiter`, unit: 'ns', value: ((cpuMicros() - start) * 1000) / crowd },
      { row: `${title}, longest pause`, unit: 'ms', value: pause },
    ]
  },
}

export const SCENES: Readonly<Record<string, Scene>> = {
  'queue: served': { ...served, quickRounds: 1 },
  'queue: all time out': allTimeOut,
  'queue: all aborted': allAborted,
}
