// The same random program on generic-pool and on this pool: after each step both must have done the same.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import genericPool from 'generic-pool'
import ours from '../../src/index.ts'
import { turns } from '../support/factories.ts'
import { Chance } from '../support/random.ts'

const PROGRAMS = 60
const STEPS = 30

interface Resource {
  readonly id: number
  isBad: boolean
}

type AnyPool = ReturnType<typeof genericPool.createPool<Resource>>

/** Enough turns for everything that is under way: nothing in these programs takes time. */
const settle = (): Promise<void> => turns(10)

/**
 * What is not compared, as docs/migrating.md says that it differs: which of two idle resources is lent, the order of what
 * happens within one step, the words after generic-pool's own, what is counted for `maxWaitingClients`, what `available`
 * says after a `clear`, and whether `min` is refilled while the pool drains.
 */
async function traceOf(createPool: typeof genericPool.createPool, seed: number): Promise<string[]> {
  const chance = new Chance(seed)
  const upTo = (most: number): number => chance.below(most)
  const max = 1 + upTo(3)
  const testOnBorrow = chance.oneIn(3)
  const options = {
    ...{ max, min: upTo(max + 1), fifo: chance.oneIn(2), priorityRange: 1 + upTo(3), testOnBorrow },
    ...{ autostart: !chance.oneIn(3), evictionRunIntervalMillis: 0 },
  }
  let made = 0
  let ended = 0
  const factory = {
    create: async (): Promise<Resource> => ({ id: made++, isBad: false }),
    destroy: async (): Promise<void> => {
      ended += 1
    },
    validate: async ({ isBad }: Resource): Promise<boolean> => !isBad,
  }
  const pool: AnyPool = createPool(factory, options)
  const held: Resource[] = []
  let told: string[] = []
  const tell = (what: string) => (error: unknown) => {
    told.push(`${what}${error instanceof Error ? `: ${error.message.slice(0, 38)}` : ''}`)
  }
  const acquire = (priority?: number): void => {
    const isLent = (resource: Resource): void => {
      held.push(resource)
      told.push('lent')
    }
    pool.acquire(priority).then(isLent, tell('not lent'))
  }
  const taken = (): Resource | undefined => held.splice(upTo(held.length), 1)[0]
  const steps: readonly (() => unknown)[] = [
    acquire,
    acquire,
    () => acquire(upTo(4)),
    () => {
      acquire(1)
      acquire(0)
    },
    () => pool.use(async () => turns(1)).then(tell('used')),
    () => pool.use(() => Promise.reject(new Error('boom'))).catch(tell('failed')),
    () => pool.release({ id: -1, isBad: false }).catch(tell('foreign')),
    () => told.push(`borrowed ${held.map(resource => pool.isBorrowedResource(resource))}`),
    ...Array.from({ length: 4 }, () => () => {
      const resource = taken()
      if (resource !== undefined) return pool.release(resource).then(tell('released'), tell('not released'))
      return undefined
    }),
    () => {
      const resource = taken()
      return resource && pool.destroy(resource).then(tell('destroyed'), tell('not destroyed'))
    },
    // Only while nobody waits: a second release would end the loan of whoever has it by then.
    () => {
      const resource = pool.pending === 0 ? taken() : undefined
      return resource && pool.release(resource).then(() => pool.release(resource).catch(tell('twice')))
    },
    () => {
      const resource = held[upTo(held.length)]
      if (resource !== undefined) resource.isBad = testOnBorrow
    },
  ]
  const trace: string[] = []
  for (let step = 0; step < STEPS; step += 1) {
    const index = upTo(steps.length)
    void steps[index]?.()
    await settle()
    const { size, available, borrowed, pending, spareResourceCapacity } = pool
    const numbers = { size, available, borrowed, pending, spareResourceCapacity, made, ended }
    trace.push(`${index}: ${told.sort()} ${JSON.stringify(numbers)}`)
    told = []
  }
  const drained = pool.drain().then(tell('drained'))
  await settle()
  acquire()
  await settle()
  while (held.length > 0 || pool.borrowed > 0) {
    for (const resource of held.splice(0)) await pool.release(resource).catch(tell('not released'))
    await settle()
  }
  await drained
  await pool.clear()
  await settle()
  assert.equal(ended, made, 'all are destroyed')
  trace.push(`the end: ${told.sort()} ${pool.size} ${pool.borrowed} ${pool.pending}`)
  return trace
}

test('random programs do on this pool what they do on generic-pool, but for the differences that are told', async () => {
  for (let seed = 1; seed <= PROGRAMS; seed += 1) {
    const theirs = await traceOf(genericPool.createPool, seed)
    const mine = await traceOf(ours.createPool as unknown as typeof genericPool.createPool, seed)
    assert.deepEqual(mine, theirs, `seed ${seed}`)
  }
})
