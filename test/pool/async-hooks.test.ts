import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { after, afterEach, before, test } from 'node:test'
import type { Factory } from '../../src/index.ts'
import { eventually, turns } from '../support/factories.ts'
import { open } from '../support/pools.ts'

/** What would end a process. */
const unhandled: unknown[] = []
const note = (error: unknown): unknown => unhandled.push(error)
const warnings: string[] = []
const hear = ({ message }: Error): unknown => warnings.push(message)
before(() => process.on('unhandledRejection', note).on('warning', hear))
after(() => process.off('unhandledRejection', note).off('warning', hear))
afterEach(async () => {
  await turns(5)
  assert.deepEqual(unhandled.splice(0), [])
})

const rejecting = async (): Promise<never> => {
  await turns(1)
  throw new Error('of an async hook')
}

/** Lends and takes back, with everything that asks hooks. */
async function live(hooks: object, options: object = {}): Promise<void> {
  const factory = {
    create: () => new PassThrough(),
    destroy: (stream: PassThrough) => void stream.destroy(),
    socket: (stream: PassThrough) => stream as unknown as Socket,
    ...hooks,
  } as unknown as Factory<PassThrough>
  const pool = open(factory, { max: 1, acquireTimeoutMillis: 200, leakThresholdMillis: 5, ...options })
  for (let loan = 0; loan < 3; loan += 1) {
    const stream = await pool.acquire().catch(() => undefined)
    if (stream === undefined) continue
    if (loan === 0) await eventually(() => pool.stats().totals.leaks > 0 || 'busy' in hooks)
    pool.report()
    await pool.release(stream)
  }
  await pool.close()
}

for (const hook of ['socket', 'unsolicited', 'busy', 'lastUsed']) {
  test(`a factory.${hook} that is async and rejects ends no process, and is named`, async () => {
    await live({ [hook]: rejecting })
    await eventually(() => warnings.some(warning => warning.startsWith(`factory.${hook} gave a promise`)))
  })
}

test('a factory.isPermanent that is async and rejects ends no process, and is named', async () => {
  await live({ create: () => Promise.reject(new Error('down')), isPermanent: rejecting })
  await eventually(() => warnings.some(warning => warning.startsWith('factory.isPermanent gave a promise')))
})

test('a busy hook that is async leaves nobody a connection of which it has not said that it is free', async () => {
  let made = 0
  await live({
    create: () => {
      made += 1
      return new PassThrough()
    },
    busy: async () => false,
  })
  assert.equal(made, 3)
})

test('a socket whose destroy is async and rejects ends no process', async () => {
  let calls = 0
  class Stubborn extends PassThrough {
    override destroy(): this {
      calls += 1
      return rejecting() as unknown as this
    }
  }
  await live({
    create: () => new Stubborn(),
    destroy: () => {},
    // It is broken on its return, and closed by the pool.
    busy: (stream: Stubborn) => {
      stream.emit('close')
      return false
    },
  })
  assert.ok(calls > 0)
})

test('a listener that gives a promise of another class, which is rejected, ends no process', async () => {
  const pool = open({ create: () => ({}), destroy: () => {} }, { max: 1 })
  let isHeard = false
  pool.on('release', () => ({
    // biome-ignore lint/suspicious/noThenProperty: a thenable is the case.
    then(_: unknown, reject: (error: unknown) => void) {
      isHeard = true
      reject(new Error('of a listener'))
    },
  }))
  await pool.use(() => {})
  await eventually(
    () => isHeard && warnings.some(warning => warning.includes("a listener of 'release' failed")),
  )
})
