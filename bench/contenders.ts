import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import genericPool from 'generic-pool'
import { createPool as createLightningPool } from 'lightning-pool'
import pTimeout from 'p-timeout'
import { Pool as SequelizePool } from 'sequelize-pool'
import { Pool as TarnPool } from 'tarn'
import { createPool, type PoolOptions } from '../src/index.ts'

/** What every contender lends: nothing to connect, nothing to close. What is measured is the pool alone. */
interface Resource {
  readonly id: number
}

/** One pool, as the scenes drive it. */
export interface Contender {
  acquire(options?: { signal?: AbortSignal; timeoutMillis?: number }): Promise<Resource>
  release(resource: Resource): unknown
  use(work: (resource: Resource) => Promise<void>): Promise<void>
}

const TIMEOUT = 5000
let made = 0
const create = async (): Promise<Resource> => {
  made += 1
  return { id: made }
}
const destroy = async (): Promise<void> => {}

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

function ours(options: PoolOptions = {}) {
  return (max: number): Contender => createPool({ create, destroy }, { max, ...options })
}

const BARE: PoolOptions = {
  nested: 'allow',
  halfClose: 'off',
  acquireTimeoutMillis: false,
  captureStacks: 'off',
}

/** The contenders by name; each runs in a process of its own. */
export const CONTENDERS: Readonly<Record<string, (max: number) => Contender>> = {
  'generic-pool': max => genericPool.createPool({ create, destroy }, { max }) as unknown as Contender,
  'generic-pool + timeout': max =>
    genericPool.createPool(
      { create, destroy },
      { max, acquireTimeoutMillis: TIMEOUT },
    ) as unknown as Contender,
  'generic-pool + p-timeout': max => {
    const pool = genericPool.createPool({ create, destroy }, { max })
    return byHand({
      acquire: () => pTimeout(pool.acquire(), { milliseconds: TIMEOUT }),
      release: resource => pool.release(resource),
    })
  },
  'lightning-pool': max => {
    const pool = createLightningPool<Resource>(
      { create, destroy },
      { max, min: 0, acquireTimeoutMillis: TIMEOUT },
    )
    return byHand({ acquire: () => pool.acquire(), release: resource => pool.release(resource) })
  },
  tarn: max => {
    const pool = new TarnPool<Resource>({ create, destroy, min: 0, max, acquireTimeoutMillis: TIMEOUT })
    return byHand({ acquire: () => pool.acquire().promise, release: resource => pool.release(resource) })
  },
  'sequelize-pool': max => {
    const pool = new SequelizePool<Resource>({
      create,
      destroy,
      validate: () => true,
      min: 0,
      max,
      idleTimeoutMillis: 30_000,
      acquireTimeoutMillis: TIMEOUT,
      reapIntervalMillis: 1000,
    })
    return byHand({ acquire: () => pool.acquire(), release: resource => pool.release(resource) })
  },
  'lifeguard-pool': ours(),
  'lifeguard-pool, no guard': ours(BARE),
  'lifeguard-pool, deadline only': ours({ ...BARE, acquireTimeoutMillis: TIMEOUT }),
  'lifeguard-pool, nested only': ours({ ...BARE, nested: 'detect' }),
  floor: max => {
    const idle: Resource[] = Array.from({ length: Math.max(max, 1000) }, (_, id) => ({ id }))
    const waiting: ((resource: Resource) => void)[] = []
    return byHand({
      acquire: () => {
        const resource = idle.pop()
        return resource === undefined
          ? new Promise(resolve => waiting.push(resolve))
          : Promise.resolve(resource)
      },
      release: resource => {
        const next = waiting.shift()
        if (next === undefined) idle.push(resource)
        else next(resource)
      },
    })
  },
}

/** The version of each package that a table names. */
export function versions(): Record<string, string> {
  const version = (name: string): string => {
    const file = join(import.meta.dirname, '../../node_modules', name, 'package.json')
    return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
  }
  const names = ['generic-pool', 'lightning-pool', 'tarn', 'sequelize-pool', 'p-timeout']
  return Object.fromEntries(names.map(name => [name, version(name)]))
}
