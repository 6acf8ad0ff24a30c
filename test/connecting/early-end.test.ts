import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Connection, type ScriptedFactory, scripted } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'
import { hangUp, setUp, setUpWired, type Wired, wire } from './outage-pool.ts'

/*
 * Connections that end before they have been of use: what is made of it, and what is said.
 */

test('the error of a connection that was lent does not say that it was never lent, nor the other way round', async () => {
  for (const wasLent of [true, false]) {
    const { clock, pool, factory } = setUpWired({ max: 1 })
    factory.onCreate.always('held')
    const caller = pool.acquire()
    const dial = await factory.onCreate.call()
    const made = { id: 0, socket: wire() } as Wired
    dial.ok(made)
    if (!wasLent) hangUp(made)
    await clock.advance(5)
    if (wasLent) {
      const held = await caller
      ;(held as Wired).socket.bytesWritten += 4
      hangUp(held)
      void pool.release(held)
    } else caller.catch(() => {})
    const waiting = rejection(pool.acquire({ timeoutMillis: 20 }))
    await clock.advance(30)
    const said = String((await waiting).cause)
    if (wasLent)
      assert.match(said, /ended 5 ms after it was created, before its first loan had brought an answer/)
    else assert.match(said, /ended before it was lent/)
  }
})

/** Thirty callers, each of which asks again as soon as it has been told, for two seconds. */
async function eager(
  { pool, clock }: ReturnType<typeof setUp>,
  ask: (connection: Connection) => Promise<unknown>,
): Promise<void> {
  const end = clock.now() + 2000
  const caller = (): void => {
    if (clock.now() >= end) return
    pool
      .use(ask)
      .catch(() => {})
      .finally(() => clock.after(40, caller))
  }
  for (let callers = 0; callers < 30; callers += 1) caller()
  await clock.advance(2000)
}

const UNUSABLE: Readonly<Record<string, (factory: ScriptedFactory) => void>> = {
  'its reset fails': ({ onReset }) => void onReset.always({ rejects: new Error('terminated') }),
  'its reset hangs': ({ onReset }) => void onReset.always('hangs'),
  'it does not pass its test on return': ({ onValidate }) => void onValidate.always({ gives: false }),
}

for (const [how, script] of Object.entries(UNUSABLE)) {
  test(`a server that hangs up at the first byte is not hammered where no socket tells of it: use fails, and ${how}`, async () => {
    const isTested = how.includes('test')
    const factory = scripted('reset', 'validate')
    script(factory)
    const options = { max: 10, testOnReturn: isTested, resetTimeoutMillis: 100 }
    const world = setUp(options, undefined, factory)
    await eager(world, async () => {
      throw new Error('Connection terminated unexpectedly')
    })
    assert.ok(world.dials.length <= 20, `${world.dials.length} dials in 2 s`)
    assert.ok(world.dials.length >= 4, 'it keeps trying')
    const waiting = world.pool.acquire({ timeoutMillis: 20 }).catch(error => error)
    await world.clock.advance(30)
    assert.match(String((await waiting).cause), /before its first loan had brought an answer/)
    factory.onReset.always('ok')
    factory.onValidate.always({ gives: true })
    const served = world.pool.use(async () => 'served')
    await world.clock.advance(1500)
    assert.equal(await served, 'served')
    assert.equal(world.pool.stats().createFailures, 0)
  })
}

test('a function that fails for reasons of its own says nothing of the server, whether its connection is kept or not', async () => {
  for (const hooks of [['reset'], []] as const) {
    const world = setUp({ max: 10 }, undefined, scripted(...hooks))
    let worst = 0
    world.pool.on('destroy', () => {
      worst = Math.max(worst, world.pool.stats().createFailures)
    })
    await eager(world, async () => {
      throw new Error('no such customer')
    })
    assert.equal(worst, 0)
    assert.equal(world.pool.stats().createFailures, 0)
  }
})

test('a loan that went well proves its connection, though its reset fails', async () => {
  const factory = scripted('reset')
  factory.onReset.always({ rejects: new Error('a bug in reset') })
  const world = setUp({ max: 10 }, undefined, factory)
  await eager(world, async () => 'fine')
  assert.equal(world.pool.stats().createFailures, 0)
})

test('whatever chance says, a server that turns connects away gets so few that two dials for each are no hammering', async () => {
  for (const random of [() => 0, () => 0.5, () => 0.999]) {
    const world = setUp({ max: 10 }, random)
    world.factory.onCreate.always({ rejects: Object.assign(new Error('reset'), { code: 'ECONNRESET' }) })
    await eager(world, async () => {})
    assert.ok(world.dials.length <= 10, `${world.dials.length} creates in 2 s`)
    assert.ok(world.dials.length >= 5, `${world.dials.length} creates in 2 s`)
  }
})
