// redis@4 does its isolated work through the pool, and its quit ends it.
const assert = require('node:assert/strict')
const { createClient } = require('redis')

module.exports = async ({ redisUrl }) => {
  const client = createClient({ url: redisUrl, isolationPoolOptions: { max: 3 } })
  await client.connect()
  await client.set('balance', '10')
  const raised = await client.executeIsolated(async isolated => {
    await isolated.watch('balance')
    return isolated.multi().incr('balance').exec()
  })
  assert.deepEqual(raised, [11])
  const pinged = await Promise.all(
    Array.from({ length: 20 }, () => client.executeIsolated(isolated => isolated.ping())),
  )
  assert.deepEqual(new Set(pinged), new Set(['PONG']))
  await client.quit()
}
