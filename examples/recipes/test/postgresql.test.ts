import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import pg from 'pg'
import { createPostgresPool } from '../postgresql.ts'
import { block, reasonsOf, toldAtOnce, until } from './dangers.ts'
import { find, startPostgres } from './servers.ts'

const missing = find('initdb') && find('postgres') ? false : 'there is no PostgreSQL on this machine'

describe('PostgreSQL', { skip: missing }, async () => {
  if (missing) return
  const server = await startPostgres()
  const config = {
    host: '127.0.0.1',
    port: server.port,
    user: 'app',
    password: 'secret',
    database: 'postgres',
  }
  const admin = new pg.Client(config)
  await admin.connect()
  await admin.query('CREATE TABLE accounts (balance int); INSERT INTO accounts VALUES (10)')
  after(async () => {
    await admin.end()
    await server.stop()
  })
  const killAll = () =>
    admin.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    )
  const balance = async (): Promise<number> =>
    (await admin.query('SELECT balance FROM accounts')).rows[0].balance

  test('an open transaction reaches neither the next borrower nor the table', async () => {
    await using pool = createPostgresPool(config, { max: 1 })
    await assert.rejects(
      pool.use(async client => {
        await client.query('BEGIN')
        await client.query('UPDATE accounts SET balance = 0')
        await client.query('no such command')
      }),
      /syntax error/,
    )
    assert.equal(await pool.use(client => client.getTransactionStatus()), 'I')
    assert.equal(await balance(), 10)
    assert.equal(pool.stats().totals.created, 1)
  })

  test('a query that nobody has awaited is not answered to the next borrower', async () => {
    await using pool = createPostgresPool(config, { max: 1 })
    const reasons = reasonsOf(pool)
    await pool.use(client => void client.query('SELECT pg_sleep(5)').catch(() => {}))
    const { rows } = await pool.use(client => client.query('SELECT 2 AS two'))
    assert.deepEqual(rows, [{ two: 2 }])
    assert.deepEqual(reasons, ['dirty'])
  })

  test('connections that the server ends while idle are replaced, and do not end the process', async () => {
    await using pool = createPostgresPool(config, { max: 2, min: 2 })
    await pool.ready()
    await killAll()
    await until('the dead are gone', () => pool.stats().totals.destroyed === 2)
    const { rows } = await pool.use(client => client.query('SELECT 1 AS one'))
    assert.deepEqual(rows, [{ one: 1 }])
  })

  test('a connection that the server ended while the event loop was blocked is not lent', async () => {
    await using pool = createPostgresPool(config, { max: 1 })
    const pid = await pool.use(
      async client => (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid,
    )
    const killed = admin.query('SELECT pg_terminate_backend($1)', [pid])
    block(300)
    const { rows } = await pool.use(client => client.query('SELECT 1 AS one'))
    assert.deepEqual(rows, [{ one: 1 }])
    await killed
  })

  test('a notice or a notification on an idle connection at worst costs that connection', async () => {
    await using pool = createPostgresPool(config, { max: 1 })
    await pool.use(client => client.query('LISTEN jobs'))
    await admin.query("NOTIFY jobs, 'one'")
    const { rows } = await pool.use(client => client.query('SELECT 1 AS one'))
    assert.deepEqual(rows, [{ one: 1 }])
  })

  test('a wrong password is told at once, and not tried until the account is locked', async () => {
    await using pool = createPostgresPool({ ...config, password: 'wrong' }, { max: 4 })
    await assert.rejects(pool.acquire(), toldAtOnce(/password authentication failed/))
    assert.ok(pool.stats().totals.createErrors <= 2)
  })

  test("connections retire before the server's idle limit", async () => {
    await using pool = createPostgresPool({ ...config, options: '-c idle_session_timeout=20s' }, { max: 1 })
    await pool.use(client => client.query('SELECT 1'))
    await until('the limit is known', () => pool.stats().serverTimeout.limitMillis === 20_000)
  })
})
