// What users do with fake timers around a pool, with the tools as they come. Each case runs in a thread or a
// process of its own.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { inWorker } from '../support/in-worker.ts'
import { packageRoot } from '../support/package-root.ts'

const run = promisify(execFile)

/** How each tool puts its timers in place, moves the time, and takes them back. */
const TOOLS = {
  'node:test': `
    import { mock } from 'node:test'
    const install = () => mock.timers.enable()
    const tick = millis => mock.timers.tick(millis)
    const uninstall = () => mock.timers.reset()
    const runAll = () => mock.timers.runAll()`,
  'node:test without Date': `
    import { mock } from 'node:test'
    const install = () => mock.timers.enable({ apis: ['setTimeout'] })
    const tick = millis => mock.timers.tick(millis)
    const uninstall = () => mock.timers.reset()
    const runAll = () => mock.timers.runAll()`,
  '@sinonjs/fake-timers, of sinon, Jest and Vitest': `
    import FakeTimers from '@sinonjs/fake-timers'
    let clock
    const install = () => { clock = FakeTimers.install() }
    const tick = millis => clock.tick(millis)
    const uninstall = () => clock.uninstall()
    const runAll = () => clock.runAll()`,
  'timers made by hand': `
    const real = { setTimeout, clearTimeout }
    let time = 0
    let timers = new Set()
    const install = () => {
      globalThis.setTimeout = (run, millis) => {
        const timer = { at: time + millis, run, ref: () => timer, unref: () => timer }
        timers.add(timer)
        return timer
      }
      globalThis.clearTimeout = timer => timers.delete(timer)
      Object.defineProperty(performance, 'now', { configurable: true, value: () => time })
    }
    const tick = millis => {
      const end = time + millis
      for (;;) {
        const due = [...timers].filter(timer => timer.at <= end).sort((a, b) => a.at - b.at)[0]
        if (due === undefined) break
        timers.delete(due)
        time = due.at
        due.run()
      }
      time = end
    }
    const uninstall = () => {
      Object.assign(globalThis, real)
      delete performance.now
    }
    const runAll = () => { while (timers.size > 0) tick(1000) }`,
} as const

const FACTORY = `
  let made = 0
  const ended = []
  const factory = {
    create: async () => ({ id: ++made }),
    destroy: async resource => { ended.push(resource.id) },
  }
  /** Microtasks and turns of the real loop; no real time. */
  const immediate = setImmediate
  const settle = async () => { for (let turn = 0; turn < 20; turn += 1) await new Promise(done => immediate(done)) }
  const outcome = promise => promise.then(() => 'fulfilled', error => error.code ?? error.message)
  const state = async promise => {
    const pending = {}
    return (await Promise.race([promise, settle().then(() => pending)])) === pending ? 'pending' : 'settled'
  }`

/** Runs a case with one tool. What does not end by itself is a hang, and fails. */
function facts(tool: string, code: string): Promise<unknown> {
  const head = `import { createPool } from 'lifeguard-pool'\n${tool}\n${FACTORY}\nconst said = {}\n`
  return inWorker(`${head}${code}\ntell(said)`, 'module')
}

for (const [name, tool] of Object.entries(TOOLS)) {
  describe(`fake timers: ${name}`, () => {
    test('an acquire is refused when the fake time has reached its deadline, and not a millisecond before', async () => {
      const said = await facts(
        tool,
        `const pool = createPool(factory, { max: 1 })
        const held = await pool.acquire()
        install()
        const waiter = pool.acquire({ detached: true })
        const settled = outcome(waiter)
        tick(4999)
        said.before = await state(settled)
        tick(1)
        said.after = await state(settled)
        said.code = await settled
        said.waited = await waiter.catch(error => error.waitedMillis)
        uninstall()
        pool.release(held)
        await pool.close()`,
      )
      assert.deepEqual(said, {
        before: 'pending',
        after: 'settled',
        code: 'POOL_ACQUIRE_TIMEOUT',
        waited: 5000,
      })
    })

    test('a deadline counts from the acquire, although the time was moved in the same run of microtasks', async () => {
      const said = await facts(
        tool,
        `const pool = createPool(factory, { max: 1, nested: 'allow' })
        const held = await pool.acquire()
        install()
        const settled = outcome(pool.acquire())
        tick(2500)
        await settle()
        tick(2499)
        said.before = await state(settled)
        tick(1)
        said.after = await state(settled)
        uninstall()
        pool.release(held)
        await pool.close()`,
      )
      assert.deepEqual(said, { before: 'pending', after: 'settled' })
    })

    test('a pool made under fake timers lends, and its idle connections are ended in fake time', async () => {
      const said = await facts(
        tool,
        `install()
        const pool = createPool(factory, { max: 2, idleTimeoutMillis: 30_000 })
        pool.release(await pool.acquire())
        tick(29_000)
        await settle()
        said.before = pool.size
        for (let step = 0; step < 3; step += 1) { tick(1000); await settle() }
        said.after = pool.size
        uninstall()
        await pool.close()`,
      )
      assert.deepEqual(said, { before: 1, after: 0 })
    })

    test('a create that failed is tried again in fake time, without the loop turning for real', async () => {
      const said = await facts(
        tool,
        `let failures = 2
        factory.create = async () => { if (failures-- > 0) throw new Error('not yet'); return {} }
        install()
        const pool = createPool(factory, { max: 1 })
        const settled = outcome(pool.acquire())
        for (let step = 0; step < 20; step += 1) { tick(100); await settle() }
        said.acquire = await settled
        uninstall()`,
      )
      assert.deepEqual(said, { acquire: 'fulfilled' })
    })

    test('tick and runAll come to an end while a pool lives', async () => {
      const said = await facts(
        tool,
        `const pool = createPool(factory, { max: 2, min: 1, idleTimeoutMillis: 30_000 })
        await pool.ready()
        install()
        await pool.use(() => {})
        tick(1)
        await settle()
        const waiters = [pool.acquire(), pool.acquire(), pool.acquire({ detached: true })].map(outcome)
        runAll()
        said.last = await waiters[2]
        uninstall()`,
      )
      assert.deepEqual(said, { last: 'POOL_ACQUIRE_TIMEOUT' })
    })

    test('nothing is lost when real time returns: who waits is refused in real time', async () => {
      const said = await facts(
        tool,
        `const pool = createPool(factory, { max: 1, acquireTimeoutMillis: 150 })
        const held = await pool.acquire()
        const alive = setInterval(() => {}, 1000)
        install()
        const settled = outcome(pool.acquire({ detached: true }))
        uninstall()
        said.code = await settled
        clearInterval(alive)`,
      )
      assert.deepEqual(said, { code: 'POOL_ACQUIRE_TIMEOUT' })
    })

    test('no stall is told that never was, in fake time or after it', async () => {
      const said = await facts(
        tool,
        `const pool = createPool(factory, { max: 1, idleTimeoutMillis: 1000, acquireTimeoutMillis: 500 })
        let longest = 0
        // A machine under load may stand still for real, but not for a minute.
        pool.on('stall', ({ millis }) => { longest = Math.max(longest, millis) })
        for (let round = 0; round < 3; round += 1) {
          const held = await pool.acquire()
          install()
          const settled = outcome(pool.acquire({ detached: true }))
          tick(60_000)
          await settled
          uninstall()
          pool.release(held)
          await settle()
        }
        await new Promise(done => setTimeout(done, 60))
        said.event = longest < 5000
        said.stats = pool.stats().stalls.longestMillis < 5000
        await pool.close()`,
      )
      assert.deepEqual(said, { event: true, stats: true })
    })
  })
}

/** A case whose timers are in force before the package is loaded. */
async function linesOf(tool: string, code: string): Promise<string> {
  const flags = ['--input-type=module', '--no-warnings', '-e', `${tool}\n${FACTORY}\n${code}`]
  return (await run(process.execPath, flags, { cwd: packageRoot(), timeout: 60_000 })).stdout
}

test('loaded while the timers of node:test are in force, the package lends and times out, in fake time and later', async () => {
  const lines = await linesOf(
    TOOLS['node:test'],
    `install()
    const { createPool } = await import('lifeguard-pool')
    const pool = createPool(factory, { max: 1 })
    const held = await pool.acquire()
    const settled = outcome(pool.acquire({ detached: true }))
    tick(5000)
    console.log(await settled)
    uninstall()
    console.log(await outcome(pool.acquire({ detached: true, timeoutMillis: 50 })))
    pool.release(held)
    await pool.use(() => console.log('lent'))`,
  )
  assert.equal(lines, 'POOL_ACQUIRE_TIMEOUT\nPOOL_ACQUIRE_TIMEOUT\nlent\n')
})

test('loaded while the timers of sinon, Jest or Vitest are in force, the package does so too, whatever the date is set to', async () => {
  const lines = await linesOf(
    TOOLS['@sinonjs/fake-timers, of sinon, Jest and Vitest'],
    `install()
    const { createPool } = await import('lifeguard-pool')
    const pool = createPool(factory, { max: 1 })
    const held = await pool.acquire()
    const settled = outcome(pool.acquire({ detached: true }))
    clock.setSystemTime(new Date('2040-01-01'))
    tick(4999)
    console.log(await state(settled))
    tick(1)
    console.log(await settled)
    uninstall()
    console.log(await outcome(pool.acquire({ detached: true, timeoutMillis: 50 })))
    pool.release(held)
    await pool.use(() => console.log('lent'))`,
  )
  assert.equal(lines, 'pending\nPOOL_ACQUIRE_TIMEOUT\nPOOL_ACQUIRE_TIMEOUT\nlent\n')
})
