import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import genericPool from 'generic-pool'
import { createPool as createLightningPool } from 'lightning-pool'
import pTimeout from 'p-timeout'
import { Pool as SequelizePool } from 'sequelize-pool'
import { Pool as TarnPool } from 'tarn'
import { createPool, type PoolOptions } from '../../src/index.ts'

/** What every contender lends: nothing to connect, nothing to close. What is measured is the pool alone. */
export interface Resource {
  readonly id: number
}

/** One pool, as the scenes drive it. */
export interface Contender {
  acquire(options?: { signal?: AbortSignal; timeoutMillis?: number }): Promise<Resource>
  release(resource: Resource): unknown
  use(work: (resource: Resource) => Promise<void>): Promise<unknown>
}

export interface Setting {
  readonly max: number
  /** The deadline of an acquire, of those that have one. Default 5000. */
  readonly timeoutMillis?: number
  /** How long a create takes. Default: no time. */
  readonly createMillis?: number
  /** Counts the creates. */
  readonly made?: () => void
}

const TIMEOUT_MILLIS = 5000

function factoryOf({ createMillis, made }: Setting) {
  let count = 0
  return {
    create: async (): Promise<Resource> => {
      count += 1
      made?.()
      if (createMillis !== undefined) await new Promise(resolve => setTimeout(resolve, createMillis))
      return { id: count }
    },
    destroy: async (): Promise<void> => {},
  }
}

const timeoutOf = ({ timeoutMillis = TIMEOUT_MILLIS }: Setting): number => timeoutMillis

/** `use` for pools that have none of their own, as one writes it by hand. */
function byHand(pool: Omit<Contender, 'use'>): Contender {
  return {
    ...pool,
    async use(work) {
      const resource = await pool.acquire()
      try {
        await work(resource)
      } finally {
        pool.release(resource)
      }
    },
  }
}

const NO_GUARD: PoolOptions = {
  nested: 'allow',
  halfClose: 'off',
  acquireTimeoutMillis: false,
  captureStacks: 'off',
}

type Maker = (setting: Setting) => Contender

const MAKERS = {
  'generic-pool': setting =>
    genericPool.createPool(factoryOf(setting), { max: setting.max }) as unknown as Contender,
  'generic-pool + timeout': setting =>
    genericPool.createPool(factoryOf(setting), {
      max: setting.max,
      acquireTimeoutMillis: timeoutOf(setting),
    }) as unknown as Contender,
  'generic-pool + p-timeout': setting => {
    const pool = genericPool.createPool(factoryOf(setting), { max: setting.max })
    return byHand({
      acquire: () => pTimeout(pool.acquire(), { milliseconds: timeoutOf(setting) }),
      release: resource => pool.release(resource),
    })
  },
  'lightning-pool': setting => {
    const pool = createLightningPool<Resource>(factoryOf(setting), {
      max: setting.max,
      min: 0,
      // Its default of 1000 would refuse the scenes with many waiters.
      maxQueue: 1_000_000,
      acquireTimeoutMillis: timeoutOf(setting),
    })
    return byHand({ acquire: () => pool.acquire(), release: resource => pool.release(resource) })
  },
  tarn: setting => {
    const pool = new TarnPool<Resource>({
      ...factoryOf(setting),
      min: 0,
      max: setting.max,
      acquireTimeoutMillis: timeoutOf(setting),
    })
    return byHand({ acquire: () => pool.acquire().promise, release: resource => pool.release(resource) })
  },
  'sequelize-pool': setting => {
    const pool = new SequelizePool<Resource>({
      ...factoryOf(setting),
      validate: () => true,
      min: 0,
      max: setting.max,
      idleTimeoutMillis: 30_000,
      acquireTimeoutMillis: timeoutOf(setting),
      reapIntervalMillis: 1000,
    })
    return byHand({ acquire: () => pool.acquire(), release: resource => pool.release(resource) })
  },
  'lifeguard-pool': setting =>
    createPool(factoryOf(setting), { max: setting.max, acquireTimeoutMillis: timeoutOf(setting) }),
  'lifeguard-pool, no guard': setting => createPool(factoryOf(setting), { ...NO_GUARD, max: setting.max }),
  floor: ({ max, made }) => {
    const idle: Resource[] = Array.from({ length: max }, (_, id) => {
      made?.()
      return { id }
    })
    // Not shift(): it copies arrays of more than some ten thousand entries.
    let waiting: ((resource: Resource) => void)[] = []
    let head = 0
    return byHand({
      acquire: () => {
        const resource = idle.pop()
        return resource === undefined
          ? new Promise(resolve => waiting.push(resolve))
          : Promise.resolve(resource)
      },
      release: resource => {
        const next = waiting[head]
        if (next === undefined) {
          idle.push(resource)
          return
        }
        head += 1
        if (head > 1000 && head * 2 > waiting.length) {
          waiting = waiting.slice(head)
          head = 0
        }
        next(resource)
      },
    })
  },
} satisfies Record<string, Maker>

export type PoolName = keyof typeof MAKERS

/** Everything a pool for any resource can be compared with, in the order of the tables. */
export const POOLS = (Object.keys(MAKERS) as PoolName[]).filter(name => name !== 'lifeguard-pool, no guard')
/** Those that give an acquire a deadline. */
export const WITH_DEADLINE = POOLS.filter(name => name !== 'generic-pool' && name !== 'floor')

/** A pool of that name, in this process. */
export function poolOf(name: string, setting: Setting): Contender {
  const make: Maker | undefined = MAKERS[name as PoolName]
  if (make === undefined) throw new Error(`no such contender: ${name}`)
  return make(setting)
}

/** The version of each package that a table names. */
export function versions(): Record<string, string> {
  const version = (name: string): string => {
    const file = join(import.meta.dirname, '../../../node_modules', name, 'package.json')
    return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
  }
  const names = ['generic-pool', 'lightning-pool', 'tarn', 'sequelize-pool', 'p-timeout', 'ioredis', 'redis']
  return Object.fromEntries(names.map(name => [name, version(name)]))
}
