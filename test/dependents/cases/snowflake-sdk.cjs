// snowflake-sdk without a Snowflake: a login that is refused fails everybody who waits at once, by way of the queue.
const assert = require('node:assert/strict')
const { createServer } = require('node:http')
const snowflake = require('snowflake-sdk')

module.exports = async () => {
  snowflake.configure({ logLevel: 'OFF', additionalLogToConsole: false })
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      response.setHeader('content-type', 'application/json')
      response.end(
        JSON.stringify({
          success: false,
          code: '390100',
          message: 'Incorrect username or password was specified.',
        }),
      )
    })
  })
  await new Promise(done => server.listen(0, '127.0.0.1', done))
  const accessUrl = `http://127.0.0.1:${server.address().port}`
  const pool = snowflake.createPool(
    { account: 'test', username: 'u', password: 'p', accessUrl, sfRetryMaxLoginRetries: 1 },
    { max: 2, min: 0, evictionRunIntervalMillis: 60_000 },
  )
  const started = Date.now()
  const failed = await Promise.allSettled(
    [1, 2, 3].map(() => pool.use(() => assert.fail('nothing can be lent'))),
  )
  for (const { reason } of failed) assert.match(String(reason?.message), /Incorrect username or password/)
  assert.ok(Date.now() - started < 60_000)
  await pool.drain()
  await pool.clear()
  server.closeAllConnections()
  server.close()
}
