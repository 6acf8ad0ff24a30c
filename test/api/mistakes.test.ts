import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createPool, type Pool } from '../../src/index.ts'
import { eventually } from '../support/factories.ts'

/* A typical mistake gets one message, short enough to be read, that names the value and what to do. */

/** Longer messages are not read. */
const MOST_CHARACTERS = 400

const factory = { create: async () => ({}), destroy: async () => {} }
const loose = createPool as (factory: unknown, options?: unknown) => Pool<object>
const make = (options: object = {}, hooks: object = {}): Pool<object> =>
  loose({ ...factory, ...hooks }, { acquireTimeoutMillis: 300, ...options })

async function messageOf(mistake: () => unknown): Promise<string> {
  try {
    await mistake()
  } catch (error) {
    // The picture and the stacks of nested acquires stand below the message.
    const [line = ''] = (error as Error).message.split('\n')
    // A busy machine adds a sentence of its own.
    const first = line.replace(/ The event loop was blocked for \d+ ms of (?:that|the wait)[^.]*\./, '')
    assert.ok(first.length <= MOST_CHARACTERS, `${first.length} characters: ${first}`)
    return first
  }
  return 'no error'
}

/** Calls a method in a way that its types do not allow. */
const call = (pool: Pool<object>, method: keyof Pool<object>, ...given: unknown[]): unknown =>
  (pool[method] as (...given: unknown[]) => unknown)(...given)

const MISTAKES: readonly (readonly [name: string, mistake: () => unknown, message: RegExp])[] = [
  [
    'factory and options in the wrong order',
    () => loose({ max: 5 }, factory),
    /wrong order: createPool\(factory, options\)/,
  ],
  [
    'a factory that is the function that connects',
    () => loose(async () => ({})),
    /factory must be an object with create and destroy, got a function/,
  ],
  ['no factory', () => loose(undefined), /factory must be an object with create and destroy, got undefined/],
  ['a misspelled option', () => make({ maxx: 5 }), /maxx is not an option \(did you mean max\?\)/],
  [
    'an option of another pool',
    () => make({ poolSize: 5 }),
    /poolSize is not an option \(did you mean max\?\)/,
  ],
  ['options in a Map', () => loose(factory, new Map()), /options must be an object, got .*Map/],
  [
    'an option of acquire that is misspelled',
    () => call(make(), 'acquire', { prority: 1 }),
    /prority is not an option of acquire \(did you mean priority\?\)/,
  ],
  [
    'the timeout of acquire without its unit',
    () => call(make(), 'acquire', { timeout: 100 }),
    /timeout is not an option of acquire \(did you mean timeoutMillis\?\)/,
  ],
  [
    'the timeout of close without its unit',
    () => call(make(), 'close', { timeout: 100 }),
    /timeout is not an option of this call \(did you mean timeoutMillis\?\)/,
  ],
  [
    'a signal that is none',
    () => call(make(), 'acquire', { signal: 'x' }),
    /signal must be an AbortSignal, got "x"/,
  ],
  ['a callback', () => call(make(), 'acquire', () => {}), /acquire takes no callback.*pool\.use\(fn\)/],
  [
    'use of a promise',
    () => call(make(), 'use', Promise.resolve()),
    /use needs a function to run, got .*Promise/,
  ],
  [
    'release of a promise',
    () => {
      const pool = make()
      return call(pool, 'release', pool.acquire())
    },
    /was given a promise .* Await what acquire returned/,
  ],
  [
    'release of what was never lent',
    () => make().release({}),
    /has not lent it, or already has it back .* End each loan once/,
  ],
]

describe('a typical mistake', () => {
  for (const [name, mistake, message] of MISTAKES) {
    test(name, async () => assert.match(await messageOf(mistake), message))
  }

  test('create that returns nothing, twice, is named in the timeout and not blamed on the server', async () => {
    const pool = make({ max: 2 }, { create: async () => {} })
    await pool.acquire({ timeoutMillis: 5000 })
    const message = await messageOf(() => pool.acquire())
    assert.match(message, /factory\.create returned .* make it return the connection/)
    assert.doesNotMatch(message, /log of the server/)
    await pool.close({ timeoutMillis: 1 }).catch(() => {})
  })

  test('validate that returns nothing is named in the timeout and not blamed on the server', async () => {
    const pool = make({ testOnBorrow: true, validateTimeoutMillis: 100 }, { validate: async () => {} })
    const message = await messageOf(() => pool.acquire())
    assert.match(message, /factory\.validate returned no\. Check that hook/)
    assert.doesNotMatch(message, /refusing this client/)
    await pool.close()
  })

  test('a connect that goes on for ever is not called an error, and TLS on one side is thought of', async () => {
    const pool = make({}, { create: () => new Promise(() => {}) })
    const message = await messageOf(() => pool.acquire())
    assert.match(message, /A connect has been in progress for \d+ ms\. Check .* only one side uses TLS/)
    assert.doesNotMatch(message, /Last error/)
    await pool.close({ timeoutMillis: 1 }).catch(() => {})
  })

  test('numbers as text are told with the value in force, and not in an error of something else', async () => {
    const warnings: string[] = []
    const onWarning = (warning: Error): void => void warnings.push(warning.message)
    process.on('warning', onWarning)
    loose(factory, { max: '10' })
    loose(factory, { max: 'ten' })
    await eventually(() =>
      warnings.some(text => /max must be a whole number ≥ 1, got "10", taken as 10/.test(text)),
    )
    await eventually(() => warnings.some(text => /got "ten", taken as 1, the default/.test(text)))
    process.off('warning', onWarning)
    assert.doesNotMatch(await messageOf(() => make({ max: '10', name: 'ours' })), /taken as/)
  })
})
