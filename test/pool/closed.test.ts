import { once } from 'node:events'
import { createServer } from 'node:net'
import { PassThrough } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createSocketPool } from '../../src/adapters/net/index.ts'
import { createPool, type PoolOptions } from '../../src/index.ts'
import { eventually, scripted, turns } from '../support/factories.ts'
import { rejection } from '../support/rejection.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** Is what these refer to gone, once nobody holds it any more? */
const areGone = (refs: readonly WeakRef<object>[]): Promise<void> =>
  eventually(
    async () => {
      await turns(2)
      gc()
      return refs.every(ref => ref.deref() === undefined)
    },
    { what: 'nothing is held any more' },
  )

const HOUR = 3_600_000

describe('a closed pool is held by nothing', () => {
  const server = createServer(socket => socket.on('error', () => {}).resume())
  before(async () => {
    await once(server.listen(0, '127.0.0.1'), 'listening')
  })
  after(() => server.close())

  const everything: PoolOptions = {
    max: 4,
    min: 1,
    leakThresholdMillis: HOUR,
    maxLifetimeMillis: HOUR,
    idleTimeoutMillis: HOUR,
    softIdleTimeoutMillis: HOUR,
    evictionRunIntervalMillis: HOUR,
    serverIdleTimeoutMillis: HOUR,
    acquireTimeoutMillis: HOUR,
    createTimeoutMillis: HOUR,
    validateTimeoutMillis: HOUR,
    resetTimeoutMillis: HOUR,
    destroyTimeoutMillis: HOUR,
    drainTimeoutMillis: HOUR,
    deadlockGraceMillis: HOUR,
    halfCloseGraceMillis: HOUR,
    shedding: { targetMillis: 1000, intervalMillis: HOUR },
    earlyRefusal: true,
  }
  const ways: Readonly<Record<string, () => Promise<object>>> = {
    async 'after it was used with every option on'() {
      const pool = createPool(scripted('validate', 'reset'), { ...everything, testOnBorrow: true })
      await pool.ready()
      await pool.use(() => pool.use(() => {}))
      await pool.close()
      return pool
    },
    async 'after its acquires timed out, were aborted or refused'() {
      const pool = createPool(scripted(), { ...everything, max: 1, min: 0 })
      const lent = await pool.acquire()
      const abort = new AbortController()
      const late = rejection(pool.acquire({ timeoutMillis: 1 }))
      const aborted = rejection(pool.acquire({ signal: abort.signal }))
      abort.abort()
      await Promise.all([late, aborted])
      await pool.release(lent)
      await pool.close()
      return pool
    },
    async 'after it could not connect'() {
      const factory = scripted()
      factory.onCreate.always({ rejects: new Error('down') })
      const pool = createPool(factory, {
        ...everything,
        max: 1,
        min: 1,
        acquireTimeoutMillis: 20,
        validateTimeoutMillis: 20,
      })
      await rejection(pool.acquire())
      await pool.close()
      return pool
    },
    async 'after it was closed by force'() {
      const pool = createPool(scripted(), { ...everything, min: 0 })
      await pool.acquire()
      const waiting = Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]).then(() =>
        rejection(pool.acquire()),
      )
      await turns(2)
      await rejection(pool.close({ timeoutMillis: 1 }))
      await waiting
      return pool
    },
    async 'with sockets'() {
      const { port } = server.address() as { port: number }
      const pool = createSocketPool({ port, host: '127.0.0.1' }, { ...everything, min: 2 })
      await pool.ready()
      await pool.use(() => turns(2))
      await turns(3)
      await pool.close()
      return pool
    },
    async 'while its server hangs over a connect'() {
      const factory = scripted()
      factory.onCreate.always('hangs')
      const pool = createPool(factory, { ...everything, min: 1, createTimeoutMillis: 20 })
      await turns(2)
      await pool.close()
      return pool
    },
  }
  for (const [name, make] of Object.entries(ways)) {
    test(name, async () => {
      await areGone([new WeakRef(await make())])
    })
  }
})

test('connections that were made and destroyed within one turn of the loop are not kept', async () => {
  const pool = createPool<PassThrough>(
    {
      create: () => new PassThrough(),
      destroy: stream => void stream.destroy(),
      socket: stream => Object.assign(stream, { _handle: {} }) as never,
    },
    { max: 1 },
  )
  const refs: WeakRef<object>[] = []
  const round = async (): Promise<void> => {
    const stream = await pool.acquire()
    refs.push(new WeakRef(stream))
    await pool.release(stream)
    await pool.destroy(await pool.acquire())
  }
  for (let count = 0; count < 200; count += 1) await round()
  await areGone(refs)
  await pool.close()
})
