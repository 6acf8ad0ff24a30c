import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { HANDLES, type Leftover } from '../../src/connections/handles.ts'
import { type Connection, ScriptedFactory, scripted, turns } from '../support/factories.ts'
import { open } from '../support/pools.ts'

const boom = (): never => {
  throw new Error('boom')
}

/** Why connections were destroyed. */
function destroyed(pool: { on(event: 'destroy', listener: (event: { reason: string }) => void): unknown }) {
  const reasons: string[] = []
  pool.on('destroy', ({ reason }) => reasons.push(reason))
  return reasons
}

describe('after its function has failed, use', () => {
  test('lends nobody a connection for which nothing vouches, however the function fails', async () => {
    for (const fail of [
      boom,
      async () => boom(),
      () => Promise.reject(undefined),
      // biome-ignore lint/suspicious/noThenProperty: a thenable is the case.
      () => ({ then: (_: unknown, reject: (error: unknown) => void) => reject(new Error('boom')) }),
      // biome-ignore lint/suspicious/noThenProperty: the same.
      () => ({ then: boom }),
    ]) {
      const factory = scripted('validate')
      const pool = open(factory, { max: 1 })
      const reasons = destroyed(pool)
      await assert.rejects(pool.use(fail as () => unknown).then(() => assert.fail('fulfilled')))
      await turns(2)
      assert.deepEqual(reasons, ['dirty'])
      assert.equal(factory.ledger.destroyed.length, 1)
      assert.equal(pool.available, 0)
      assert.equal((await pool.use(connection => connection)).id, 1, 'the next one has a new connection')
    }
  })

  test('keeps a connection whose reset succeeds, and only then', async () => {
    const factory = scripted('reset')
    factory.onReset.next('ok', { rejects: new Error('ROLLBACK failed') })
    const pool = open(factory, { max: 1 })
    await assert.rejects(pool.use(boom), { message: 'boom' })
    assert.equal(await pool.use(({ id }) => id), 0, 'the same connection, cleaned')
    await turns(2)
    assert.equal(factory.ledger.destroyed.length, 1, 'and now its reset has failed')
    assert.equal(await pool.use(({ id }) => id), 1)
  })

  test('keeps a connection whose adapter has seen every command, and says that it is clean', async () => {
    let left: Leftover | undefined
    const owners = new WeakMap<Connection, object>()
    const factory = Object.assign(scripted(), {
      [HANDLES]: {
        lend: ({ id }: Connection, owner: object): Connection => {
          const handle = { id }
          owners.set(handle, owner)
          return handle
        },
        ownerOf: (handle: Connection) => owners.get(handle),
        unlend: (_: Connection, handle: Connection) => {
          owners.delete(handle)
          return left
        },
      },
    })
    const pool = open(factory, { max: 1 })
    await assert.rejects(pool.use(boom), { message: 'boom' })
    assert.equal(await pool.use(({ id }) => id), 0)
    left = { left: 'MULTI', detail: 'an open transaction' }
    await assert.rejects(pool.use(boom), { message: 'boom' })
    left = undefined
    assert.equal(await pool.use(({ id }) => id), 1)
  })

  test('lends nobody what a nested use that shared the connection has spoilt, though the outer one caught it', async () => {
    const factory = scripted()
    const pool = open(factory, { max: 1, nested: 'reuse' })
    await pool.use(async () => {
      await assert.rejects(pool.use(boom), { message: 'boom' })
    })
    await turns(2)
    assert.equal(factory.ledger.destroyed.length, 1)
  })

  test('does not hold against the next loan what the last one has done', async () => {
    const factory = scripted('reset')
    const pool = open(factory, { max: 1 })
    await assert.rejects(pool.use(boom), { message: 'boom' })
    delete factory.reset
    await pool.release(await pool.acquire())
    assert.equal(pool.available, 1)
  })

  test('leaves alone what its function has given back or taken for good itself', async () => {
    const factory = scripted()
    const pool = open(factory, { max: 1 })
    await assert.rejects(
      pool.use(async connection => {
        await pool.release(connection)
        boom()
      }),
      { message: 'boom' },
    )
    assert.equal(pool.available, 1, 'a release says that it is good')
  })
})

test('connections that died once do not go round for ever: the pool heals without being told of it', async () => {
  interface Client {
    alive: boolean
    query(): Promise<string>
  }
  const factory = new ScriptedFactory<Client>(() => {
    const client: Client = {
      alive: true,
      query: async () => (client.alive ? 'answer' : Promise.reject(new Error('Connection lost'))),
    }
    return client
  })
  const pool = open(factory, { max: 4 })
  const call = () => pool.use(client => client.query()).catch(() => 'failed')
  await Promise.all(Array.from({ length: 8 }, call))
  for (const client of factory.ledger.created) client.alive = false
  const answers: string[] = []
  for (let round = 0; round < 50; round += 1)
    answers.push(...(await Promise.all([call(), call(), call(), call()])))
  assert.ok(answers.filter(answer => answer === 'failed').length <= 4, `${answers}`)
})

test('an open transaction of a call that failed does not swallow what the next callers store', async () => {
  /** As a database does it: BEGIN holds back what follows until COMMIT, and the end of the session drops it. */
  class Session {
    readonly #stored: string[]
    #held: string[] | undefined
    constructor(stored: string[]) {
      this.#stored = stored
    }
    begin(): void {
      this.#held = []
    }
    insert(row: string): void {
      ;(this.#held ?? this.#stored).push(row)
    }
  }
  const stored: string[] = []
  const pool = open(new ScriptedFactory(() => new Session(stored)), { max: 1 })
  const bad = pool.use(session => {
    session.begin()
    session.insert('half a transfer')
    throw new Error('no funds')
  })
  await assert.rejects(bad, { message: 'no funds' })
  for (let customer = 0; customer < 10; customer += 1)
    await pool.use(session => session.insert(`order ${customer}`))
  assert.equal(stored.length, 10)
})
