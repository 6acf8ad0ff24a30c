// mssql@4 without a SQL Server: its own pool code, over connections that are doubles.
const assert = require('node:assert/strict')
const base = require('mssql/lib/base')

let made = 0
let ended = 0

class ConnectionPool extends base.ConnectionPool {
  _poolCreate() {
    made += 1
    return Promise.resolve({ id: made, once() {}, on() {} })
  }

  _poolValidate() {
    return Promise.resolve(true)
  }

  _poolDestroy() {
    ended += 1
    return Promise.resolve()
  }
}

module.exports = async () => {
  const pool = new ConnectionPool({ server: 'nowhere', pool: { max: 2, min: 0, acquireTimeoutMillis: 2000 } })
  await pool.connect()
  const held = await Promise.all([pool.pool.acquire(), pool.pool.acquire()])
  assert.equal(pool.pool.borrowed, 2)
  const third = pool.pool.acquire({ detached: true })
  await pool.pool.release(held[0])
  await pool.pool.release(await third)
  await pool.pool.release(held[1])
  await new Promise((resolve, reject) => pool.close(error => (error ? reject(error) : resolve())))
  assert.equal(ended, made)
}
