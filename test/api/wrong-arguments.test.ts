import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createPool, isPoolError, type Pool } from '../../src/index.ts'
import { eventually } from '../support/factories.ts'

/* What cannot be meant is named at once: each public method, given what it does not take. */

const warnings: string[] = []
const onWarning = (warning: Error): void => void warnings.push(warning.message)
before(() => void process.on('warning', onWarning))
after(() => void process.off('warning', onWarning))

/** As many as a pool can be asked for: names decide what has been said already. */
let pools = 0
function open(options: object = {}): Pool<object> {
  pools += 1
  const factory = { create: async () => ({}), destroy: async () => {} }
  return createPool(factory, { name: `pool ${pools}`, max: 2, drainTimeoutMillis: 5000, ...options })
}

/** A foreign object whose fields cannot be read. */
const unreadable = new Proxy(
  {},
  {
    get: () => {
      throw new Error('not now')
    },
    has: () => {
      throw new Error('not now')
    },
  },
)

const GIVEN: Readonly<Record<string, unknown>> = {
  'a promise': Promise.resolve({}),
  undefined,
  null: null,
  'a number': 7,
  'a string': 'x',
  'a symbol': Symbol('x'),
  'a foreign object': {},
  'an unreadable object': unreadable,
}

type Method = keyof Pool<object>

/** What the method answers, or the message of its error. A method of a promise must not throw. */
async function answerOf(pool: Pool<object>, method: Method, given: unknown): Promise<unknown> {
  try {
    return await (pool[method] as (given: unknown) => unknown)(given)
  } catch (error) {
    assert.ok(isPoolError(error), String(error))
    return error.message
  }
}

const warnedOf = ({ name }: Pool<object>): string[] => warnings.filter(text => text.includes(`'${name}'`))

/** What is expected of a method: for each value a pattern of the error, or the answer; and a warning, or none. */
interface Row {
  readonly answers: Readonly<Record<string, unknown>>
  readonly otherwise: unknown
  readonly warned?: Readonly<Record<string, RegExp>>
}

const NOT_LENT = /has not lent it, or already has it back/
const ROWS: Readonly<Partial<Record<Method, Row>>> = {
  release: {
    answers: {
      'a promise': /release of .* was given a promise .*Await what acquire returned, and pass that/,
      undefined: /release of .* was given undefined .*Pass what acquire resolved to/,
      null: /release of .* was given null /,
    },
    otherwise: NOT_LENT,
  },
  destroy: {
    answers: {
      'a promise': /destroy of .* was given a promise .*Await what acquire returned, and pass that/,
      undefined: /destroy of .* was given undefined /,
      null: /destroy of .* was given null /,
    },
    otherwise: NOT_LENT,
  },
  invalidate: {
    answers: {},
    otherwise: false,
    warned: {
      'a promise': /^invalidate of .* was given a promise, and nothing was changed\. Await/,
      undefined: /^invalidate of .* was given undefined, and nothing was changed\. Pass what/,
      null: /^invalidate of .* was given null/,
    },
  },
  isBorrowedResource: {
    answers: {},
    otherwise: false,
    warned: { 'a promise': /^isBorrowedResource of .* was given a promise, and answered false\. Await/ },
  },
  use: { answers: {}, otherwise: /use needs a function to run, got / },
  resize: {
    answers: { 'a foreign object': undefined },
    otherwise: /resize needs \{ min, max \}|cannot be read/,
  },
  close: {
    answers: { undefined, null: undefined, 'a foreign object': undefined },
    otherwise: /close takes \{ timeoutMillis, signal \}, got /,
  },
  drain: {
    answers: {},
    otherwise: undefined,
    warned: { 'a number': /was given 7, which is ignored, .* \{ timeoutMillis: 7 \}/ },
  },
  ready: {
    answers: {},
    otherwise: undefined,
    warned: { 'a number': /was given 7, which is ignored, .* \{ timeoutMillis: 7 \}/ },
  },
  clear: { answers: {}, otherwise: undefined },
  purge: { answers: {}, otherwise: undefined },
  start: { answers: {}, otherwise: undefined },
}

describe('what cannot be meant', () => {
  for (const [method, { answers, otherwise, warned = {} }] of Object.entries(ROWS)) {
    for (const [name, given] of Object.entries(GIVEN)) {
      test(`${method} of ${name}`, async () => {
        const pool = open()
        const lent = await pool.acquire()
        await pool.release(lent)
        const answer = await answerOf(pool, method as Method, given)
        const expected = name in answers ? answers[name] : otherwise
        if (expected instanceof RegExp) assert.match(String(answer), expected)
        else assert.equal(answer, expected)
        const pattern = warned[name]
        if (pattern !== undefined) {
          await answerOf(pool, method as Method, given)
          await eventually(() => warnedOf(pool).length > 0)
          assert.match(warnedOf(pool)[0] ?? '', pattern)
        }
        await new Promise(setImmediate)
        assert.equal(warnedOf(pool).length, pattern === undefined ? 0 : 1, 'said once')
        await pool.close()
      })
    }
  }
})

describe('a priority that is none', () => {
  const told = async (pool: Pool<object>, priority: unknown): Promise<string[]> => {
    for (const _ of [1, 2]) await pool.release(await pool.acquire(priority as number))
    await new Promise(setImmediate)
    await pool.close()
    return warnedOf(pool)
  }
  const ONE: readonly [given: unknown, options: object, message: RegExp][] = [
    [5, {}, /priority 5, taken as 0: .* priorityRange 1 a priority can only be 0\. Set priorityRange: 6/],
    [3, { priorityRange: 3 }, /priority 3, taken as 2: .* a number from 0 .* to 2\. Set priorityRange: 4/],
    [-1, { priorityRange: 3 }, /priority -1, taken as 2: /],
    [1.5, { priorityRange: 3 }, /priority 1\.5, taken as 1: /],
    ['high', { priorityRange: 3 }, /priority "high", taken as 0: /],
    [true, {}, /priority true, taken as 0: /],
    [Symbol('x'), {}, /priority Symbol\(x\), taken as 0: /],
    [{ priority: 9 }, {}, /priority 9, taken as 0: /],
  ]
  for (const [given, options, message] of ONE) {
    test(`${typeof given === 'object' ? JSON.stringify(given) : String(given)} is named once, with what it is taken as`, async () => {
      const texts = await told(open(options), given)
      assert.equal(texts.length, 1, texts.join('\n'))
      assert.match(texts[0] ?? '', message)
      assert.ok((texts[0] ?? '').length < 300)
    })
  }
  for (const given of [0, 2, '1', { priority: 1 }, undefined, null, {}]) {
    test(`${JSON.stringify(given)} is one, and nothing is said`, async () =>
      assert.deepEqual(await told(open({ priorityRange: 3 }), given), []))
  }
})

describe('what is nearly a connection', () => {
  test('a lease instead of its connection', async () => {
    const pool = open()
    const lease = await pool.lease()
    for (const method of ['release', 'destroy'] as const)
      assert.match(
        String(await answerOf(pool, method, lease)),
        new RegExp(`given a lease .*Call lease\\.${method}\\(\\)\\. Nothing was changed`),
      )
    assert.equal(pool.isBorrowedResource(lease), false)
    assert.equal(pool.invalidate(lease), false)
    await eventually(() => warnedOf(pool).length === 2)
    for (const text of warnedOf(pool)) assert.match(text, /given a lease, .* Pass lease\.resource/)
    await lease.release()
    assert.match(String(await answerOf(pool, 'release', lease)), /given a lease/, 'also after its end')
    await pool.close()
  })

  for (const method of ['release', 'destroy'] as const) {
    test(`${method} of the same connection twice`, async () => {
      const pool = open()
      const lent = await pool.acquire()
      assert.equal(await answerOf(pool, method, lent), undefined)
      assert.match(String(await answerOf(pool, 'release', lent)), NOT_LENT)
      await pool.close()
    })

    test(`${method} of a connection of another pool`, async () => {
      const [pool, other] = [open(), open()]
      const lent = await other.acquire()
      assert.match(String(await answerOf(pool, method, lent)), NOT_LENT)
      assert.ok(other.isBorrowedResource(lent))
      await other.release(lent)
      await Promise.all([pool.close(), other.close()])
    })
  }

  test('an array of options, or a promise of them', async () => {
    const pool = open()
    for (const method of ['acquire', 'lease'] as const) {
      assert.match(String(await answerOf(pool, method, [1])), /options must be an object, got an array/)
      assert.match(
        String(await answerOf(pool, method, Promise.resolve())),
        /options must be an object, got an object of the kind Promise/,
      )
    }
    await pool.close()
  })
})

test('a listener for an event that no pool emits is named once, if its name is close to that of one', async () => {
  const pool = open()
  const listener = (): void => {}
  const said = (): string[] => warnings.filter(text => text.startsWith('a listener was added'))
  pool.on('halfClose', listener).on('halfClose', listener)
  pool.once('factoryCreateErorr', listener)
  pool.prependListener('destroyed', listener)
  await eventually(() => said().length >= 3)
  assert.deepEqual(
    said().map(text => text.match(/Did you mean '(.*?)'/)?.[1]),
    ['half-close', 'factoryCreateError', 'destroy'],
  )
  // Names of a user's own, and all events that there are.
  for (const event of ['error', 'end', 'tick', 'newListener', 'idle', 'mine', Symbol('acquired')])
    pool.on(event, listener)
  for (const event of ['acquire', 'leak', 'leak-end', 'stall', 'state', 'half-close'])
    pool.on(event, listener)
  await pool.close()
  assert.equal(said().length, 3)
})
