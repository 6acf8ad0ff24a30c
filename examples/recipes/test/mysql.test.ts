import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import mysql from 'mysql2/promise'
import { createMysqlPool } from '../mysql.ts'
import { block, reasonsOf, toldAtOnce, until } from './dangers.ts'
import { find, startMariadb } from './servers.ts'

const missing = find('mariadbd') && find('mariadb-install-db') ? false : 'there is no MariaDB on this machine'

describe('MariaDB', { skip: missing }, async () => {
  if (missing) return
  const server = await startMariadb()
  const config = { host: '127.0.0.1', port: server.port, user: 'app', password: 'secret', database: 'app' }
  const admin = await mysql.createConnection(config)
  await admin.query('CREATE TABLE accounts (balance int)')
  await admin.query('INSERT INTO accounts VALUES (10)')
  after(async () => {
    await admin.end()
    await server.stop()
  })
  const one = async (connection: mysql.Connection): Promise<unknown> =>
    (await connection.query<mysql.RowDataPacket[]>('SELECT 1 AS one'))[0][0]?.one
  const idOf = async (connection: mysql.Connection): Promise<number> =>
    (await connection.query<mysql.RowDataPacket[]>('SELECT connection_id() AS id'))[0][0]?.id

  test('an open transaction and a session variable reach nobody', async () => {
    await using pool = createMysqlPool(config, { max: 1 })
    await pool.use(async connection => {
      await connection.query('SET @mine = 1')
      await connection.beginTransaction()
      await connection.query('UPDATE accounts SET balance = 0')
    })
    const [rows] = await pool.use(connection =>
      connection.query<mysql.RowDataPacket[]>('SELECT balance, @mine AS mine FROM accounts'),
    )
    assert.deepEqual({ ...rows[0] }, { balance: 10, mine: null })
    assert.equal(pool.stats().totals.created, 1)
  })

  test('a query that nobody has awaited is not answered to the next borrower', async () => {
    await using pool = createMysqlPool(config, { max: 1 })
    const reasons = reasonsOf(pool)
    await pool.use(connection => void connection.query('SELECT SLEEP(5)').catch(() => {}))
    assert.equal(await pool.use(one), 1)
    assert.deepEqual(reasons, ['dirty'])
  })

  test('a connection that the server ends while idle is replaced, and does not end the process', async () => {
    await using pool = createMysqlPool(config, { max: 1 })
    await admin.query(`KILL ${await pool.use(idOf)}`)
    await until('the dead one is gone', () => pool.stats().totals.destroyed === 1)
    assert.equal(await pool.use(one), 1)
  })

  test('a connection that the server ended while the event loop was blocked is not lent', async () => {
    await using pool = createMysqlPool(config, { max: 1 })
    const killed = admin.query(`KILL ${await pool.use(idOf)}`)
    block(300)
    assert.equal(await pool.use(one), 1)
    await killed
  })

  test('a wrong password is told at once, and not tried until the account is locked', async () => {
    await using pool = createMysqlPool({ ...config, password: 'wrong' }, { max: 4 })
    await assert.rejects(pool.acquire(), toldAtOnce(/Access denied/))
    assert.ok(pool.stats().totals.createErrors <= 2)
  })

  test("connections retire before the server's idle limit", async () => {
    await admin.query('SET GLOBAL wait_timeout = 20')
    await using pool = createMysqlPool(config, { max: 1 })
    await pool.use(one)
    await until('the limit is known', () => pool.stats().serverTimeout.limitMillis === 20_000)
  })
})
