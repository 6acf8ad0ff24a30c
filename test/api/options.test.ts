import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { createPool, isPoolError, Pool, PoolError, type PoolOptions } from '../../src/index.ts'

const factory = { create: async () => ({}), destroy: async () => {} }

function issuesOf(options: unknown, of: unknown = factory): readonly string[] {
  try {
    createPool(of as typeof factory, options as PoolOptions)
  } catch (error) {
    assert.ok(error instanceof PoolError)
    assert.equal(error.code, 'POOL_BAD_OPTIONS')
    for (const issue of error.issues ?? []) assert.ok(error.message.includes(issue), error.message)
    return error.issues ?? []
  }
  return []
}

test('everything that is wrong is said in one error', () => {
  const issues = issuesOf({
    max: 2,
    min: 5,
    acquireTimeoutMillis: -5,
    createTimeoutMillis: Number.NaN,
    destroyTimeoutMillis: Number.NEGATIVE_INFINITY,
    maxWaitingClient: 3,
    nested: 'maybe',
    idleTimeoutMillis: 1000,
    softIdleTimeoutMillis: 2000,
    name: '',
  })
  assert.equal(issues.length, 8, issues.join('\n'))
  const all = issues.join('\n')
  for (const name of [
    'min (5)',
    'acquireTimeoutMillis',
    'createTimeoutMillis',
    'destroyTimeoutMillis',
    'nested',
  ]) {
    assert.ok(all.includes(name), `${name} is missing:\n${all}`)
  }
  assert.match(all, /maxWaitingClient is not an option/)
  assert.match(all, /softIdleTimeoutMillis \(2000\) must not be above idleTimeoutMillis \(1000\)/)
})

for (const [option, values] of Object.entries({
  max: [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY],
  min: [-1, 0.5],
  maxWaitingClients: [-1, Number.NaN],
  priorityRange: [0, 1001, 2 ** 31, Number.POSITIVE_INFINITY],
  acquireTimeoutMillis: [-1, Number.NaN, Number.NEGATIVE_INFINITY, 'abc', true],
  createTimeoutMillis: [0, -1, '5'],
  destroyTimeoutMillis: [-1, Number.NaN],
  lifetimeJitter: [-0.1, 1.1],
  maxLifetimeMillis: [0, -1],
  maxUses: [-1, 1.5, Number.NaN, '50'],
  shedding: [true, {}.toString, { targetMillis: 100, intervalMillis: 50 }, { target: 1 }],
  serverIdleTimeoutMillis: ['never', -1],
  captureStacks: ['some'],
  fifo: ['yes'],
})) {
  for (const value of values) {
    test(`${option}: ${String(value)} is refused, not rewritten`, () => {
      assert.equal(issuesOf({ [option]: value }).length, 1)
    })
  }
}

test('timeouts that contradict each other are refused', () => {
  assert.match(
    issuesOf({ validateTimeoutMillis: 500, acquireTimeoutMillis: 100 }).join(),
    /validateTimeoutMillis/,
  )
  assert.match(
    issuesOf({ idleTimeoutMillis: 5000, serverIdleTimeoutMillis: 1000 }).join(),
    /server closes first/,
  )
})

test('what a factory lacks is said together with what is wrong with the options', () => {
  assert.equal(issuesOf({ testOnBorrow: true, max: 0 }, { create: 1, busy: 2 }).length, 5)
  assert.equal(issuesOf(undefined, null).length, 1)
  assert.equal(issuesOf('max: 5').length, 1)
})

test('options that are inherited, or getters of a class, count as those of a literal do', () => {
  class Settings {
    get max(): number {
      return 7
    }
    get isProduction(): boolean {
      return true
    }
  }
  for (const options of [
    new Settings(),
    Object.create({ max: 7 }),
    Object.assign(Object.create(null), { max: 7 }),
  ])
    assert.equal(createPool(factory, options).max, 7)
  assert.equal(issuesOf(Object.create({ max: 0, toJSON: () => 1 })).length, 1)
  assert.equal(issuesOf(Object.assign(Object.create({ max: 0 }), { nonsense: 1 })).length, 2)
  const foreign = runInNewContext('({ max: 7, shedding: { targetMillis: 5 } })')
  assert.equal(createPool(factory, foreign).max, 7)
})

test('what is no record of options is refused, whatever it is', () => {
  const nothing = [
    new Map([['max', 5]]),
    new Date(),
    new URL('redis://h'),
    Promise.resolve(),
    [],
    5,
    new Number(5),
  ]
  for (const options of [...nothing, AbortSignal.abort(), new Error('x'), () => {}])
    assert.match(issuesOf(options).join(), /^options must be an object, got /)
  for (const shedding of [[], new Date(), new Map()]) assert.equal(issuesOf({ shedding }).length, 1)
})

test('what cannot be read, or shown, is one thing among those that are wrong', () => {
  const broken = {
    get max(): number {
      throw new Error('boom')
    },
    priorityRange: Object.create(null),
    min: Object.create(null),
    shedding: new Proxy({}, { ownKeys: () => assert.fail('no keys') }),
    fifo: Symbol('yes'),
  }
  const issues = issuesOf(broken, {
    get create(): never {
      throw new Error('bang')
    },
    destroy: () => {},
  })
  const all = issues.join('\n')
  for (const part of [
    'max cannot be read: boom',
    'create cannot be read: bang',
    'priorityRange',
    'min',
    'fifo',
  ])
    assert.ok(all.includes(part), all)
  const sealed = new Proxy({}, { ownKeys: () => assert.fail('closed') })
  assert.match(issuesOf(sealed).join(), /the options cannot be read: closed/)
})

test('an error shows no password', () => {
  const message = issuesOf('redis://user:s3cret@host:1').join()
  assert.match(message, /redis:\/\/\*\*\*@host:1/)
  assert.doesNotMatch(message, /s3cret/)
})

test('a class with static hooks is a factory', async () => {
  // biome-ignore lint/complexity/noStaticOnlyClass: generic-pool takes it
  class Things {
    static create = async (): Promise<object> => ({})
    static destroy = async (): Promise<void> => {}
  }
  const pool = createPool<object>(Things)
  await pool.release(await pool.acquire())
  await pool.close()
})

test('a name in the wrong case is a mistake, also where only options of generic-pool are used', () => {
  for (const [wrong, right] of [
    ['Max', 'max'],
    ['acquiretimeoutmillis', 'acquireTimeoutMillis'],
    ['priorityrange', 'priorityRange'],
    ['maxWaitingclients', 'maxWaitingClients'],
    ['IdleTimeoutMillis', 'idleTimeoutMillis'],
  ] as const) {
    assert.deepEqual(issuesOf({ [wrong]: 5 }), [`${wrong} is not an option (did you mean ${right}?)`])
  }
  for (const wrong of ['Log', 'promise', 'refreshidle']) assert.equal(issuesOf({ [wrong]: 5 }).length, 1)
})

test('odd values that generic-pool takes are taken as it takes them, but only among its own options', () => {
  const warnings: unknown[] = []
  const onWarning = (warning: Error & { code?: string }): void => void warnings.push(warning.code)
  process.on('warning', onWarning)
  const bounds = (options: unknown): number[] => {
    const pool = createPool(factory, { autostart: false, ...(options as PoolOptions) })
    return [pool.min, pool.max]
  }
  assert.deepEqual(bounds({ min: 5, max: 3 }), [3, 3])
  assert.deepEqual(bounds({ min: 'asf', max: [] }), [0, 1])
  assert.deepEqual(bounds({ min: '2', max: '4' }), [2, 4])
  assert.deepEqual(bounds({ max: 2, idletimeoutMillis: 300_000, log: false }), [0, 2])
  assert.equal(issuesOf({ min: 5, max: 3, name: 'ours' }).length, 1)
  assert.equal(issuesOf({ min: 5, max: 3, log: true, priorityRange: 0 }).length, 3)
  return new Promise<void>(resolve =>
    setImmediate(() => {
      process.off('warning', onWarning)
      assert.deepEqual(warnings, Array(4).fill('LIFEGUARD_POOL_ODD_OPTIONS'))
      resolve()
    }),
  )
})

test('numbers out of the environment, which are text, are taken as generic-pool takes them', async () => {
  const text: Record<string, string> = {
    max: '2',
    maxWaitingClients: '1',
    priorityRange: '2',
    evictionRunIntervalMillis: '1000',
    numTestsPerEvictionRun: '3',
    softIdleTimeoutMillis: '-1',
    idleTimeoutMillis: ' 30000 ',
    acquireTimeoutMillis: '150',
    destroyTimeoutMillis: '5000',
  }
  for (const [name, value] of Object.entries(text)) assert.deepEqual(issuesOf({ [name]: value }), [], name)
  const pool = createPool(factory, text as PoolOptions)
  const lent = [await pool.acquire(), await pool.acquire()]
  const late = pool.acquire(1)
  await assert.rejects(pool.acquire(), { code: 'POOL_QUEUE_FULL' })
  await assert.rejects(
    late,
    error => isPoolError(error, 'POOL_ACQUIRE_TIMEOUT') && error.waitedMillis < 4000,
    'the default is 5000',
  )
  for (const each of lent) await pool.release(each)
  await pool.close()
  for (const wrong of ['', 'abc', '0', '-5', '1e3', '5s', 'Infinity'])
    assert.equal(issuesOf({ acquireTimeoutMillis: wrong }).length, 1, wrong)
  assert.equal(issuesOf({ createTimeoutMillis: '5000' }).length, 1, 'not an option of generic-pool')
  assert.equal(issuesOf({ acquireTimeoutMillis: '5000', name: 'ours' }).length, 1)
})

test('the error names the pool that was to be made, if its name was right', () => {
  const poolOf = (options: unknown, of: unknown = factory): unknown => {
    const make = (): unknown => createPool(of as typeof factory, options as PoolOptions)
    return poolIn(make)
  }
  assert.equal(poolOf({ name: 'orders', max: 0 }), 'orders')
  assert.equal(poolOf({ name: 'orders' }, {}), 'orders')
  for (const options of [{ max: 0 }, { name: '', max: 0 }, { name: 5, max: 0 }, 'orders'])
    assert.equal(poolOf(options), undefined)
  const port = -1
  assert.equal(
    poolIn(() => createSocketPool({ port }, { name: 'orders' })),
    'orders',
  )
})

test('a Pool that was not made by createPool is refused with the way to make one', () => {
  const Class = Pool as unknown as new (...given: unknown[]) => unknown
  for (const given of [[], [factory], [factory, { max: 2 }], [Map, Map, Map, factory, {}]]) {
    assert.throws(() => new Class(...given), {
      code: 'POOL_BAD_OPTIONS',
      message: /createPool\(factory, options\)/,
    })
  }
})

/** Which pool the error speaks of. */
function poolIn(make: () => unknown): unknown {
  try {
    make()
  } catch (error) {
    assert.ok(isPoolError(error, 'POOL_BAD_OPTIONS'))
    if (error.pool !== undefined) assert.ok(error.message.includes(`pool '${error.pool}'`))
    return error.pool
  }
  throw new Error('nothing was refused')
}
