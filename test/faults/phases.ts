/* The moments in the life of a connection at which a fault strikes. */

import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { FaultWorld } from './world.ts'

/** What a phase starts, each to settle in time. */
export interface Started {
  readonly what: string
  readonly promise: Promise<unknown>
}

export interface Phase {
  readonly name: string
  /** `strike` has the fault strike; what it returns settles once it has struck. */
  run(world: FaultWorld, strike: () => Promise<void>): Promise<Started[]>
  /** The pool is closed in it. */
  readonly closes?: boolean
}

const use = (world: FaultWorld, work: (redis: Redis) => Promise<unknown> = read): Started => ({
  what: 'use',
  promise: world.pool.use(work),
})
const read = (redis: Redis): Promise<unknown> => redis.set('key', 'value')

/** Strikes when the client sends next; where nobody looks at its bytes, a moment from now. */
const onSend = (world: FaultWorld, strike: () => Promise<void>): void => {
  if (world.proxy === undefined) setTimeout(() => void strike(), 1)
  else world.proxy.onClientData = strike
}

/** Two connections that have been used. */
async function warm({ pool }: FaultWorld): Promise<void> {
  await Promise.all([pool.use(read), pool.use(read)])
}

export const PHASES: readonly Phase[] = [
  {
    name: 'connecting',
    run: async (world, strike) => {
      await strike()
      return [use(world), use(world)]
    },
  },
  {
    name: 'handshaking',
    run: async (world, strike) => {
      onSend(world, strike)
      return [use(world), use(world)]
    },
  },
  {
    name: 'idle',
    run: async (world, strike) => {
      await warm(world)
      await strike()
      return [use(world), use(world)]
    },
  },
  {
    name: 'validating',
    run: async (world, strike) => {
      await warm(world)
      await delay(90)
      onSend(world, strike)
      return [use(world), use(world)]
    },
  },
  {
    name: 'lent, idle',
    run: async (world, strike) => {
      const lease = await world.pool.lease()
      await strike()
      const work = lease.resource.set('key', '1').finally(() => lease.release())
      return [{ what: 'lease', promise: work }, use(world)]
    },
  },
  {
    name: 'in flight',
    run: async (world, strike) => {
      await warm(world)
      const lease = await world.pool.lease()
      onSend(world, strike)
      const work = lease.resource.set('key', '1').finally(() => lease.release())
      return [{ what: 'lease', promise: work }, use(world)]
    },
  },
  {
    name: 'MULTI open',
    run: async (world, strike) => {
      const transact = async (redis: Redis): Promise<unknown> => {
        await redis.multi({ pipeline: false })
        await redis.set('key', '1')
        await strike()
        await redis.set('key', '2')
        return redis.exec()
      }
      return [use(world, transact), use(world)]
    },
  },
  {
    name: 'resetting',
    run: async (world, strike) => {
      const lease = await world.pool.lease()
      await lease.resource.select(3)
      onSend(world, strike)
      return [{ what: 'release', promise: lease.release() }, use(world)]
    },
  },
  {
    name: 'closing',
    closes: true,
    run: async (world, strike) => {
      await warm(world)
      const closing = world.pool.close()
      const struck = strike()
      await struck
      return [{ what: 'close', promise: closing }]
    },
  },
  {
    name: 'draining',
    closes: true,
    run: async (world, strike) => {
      const lease = await world.pool.lease()
      const draining = world.pool.drain()
      draining.catch(() => {})
      await strike()
      const work = lease.resource.set('key', '1').finally(() => lease.release())
      return [
        { what: 'lease', promise: work },
        { what: 'drain', promise: draining },
      ]
    },
  },
]
