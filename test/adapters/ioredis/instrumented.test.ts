import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { withRedis } from '../../support/redis.ts'

const redis = await withRedis()
after(() => redis.stop())

const entry = fileURLToPath(new URL('../../../src/adapters/ioredis/index.js', import.meta.url))

/** As OpenTelemetry's instrumentation does: it waits for `require('ioredis')`, and patches the class that this gives. */
const HOOK = `
  const Module = require('node:module')
  const { require: original } = Module.prototype
  let spans = 0
  let isPatched = false
  Module.prototype.require = function (id) {
    const found = original.apply(this, arguments)
    if (id === 'ioredis' && !isPatched) {
      isPatched = true
      const { sendCommand } = found.prototype
      found.prototype.sendCommand = function () {
        spans += 1
        return sendCommand.apply(this, arguments)
      }
    }
    return found
  }
  process.on('exit', () => console.log('spans ' + spans))
`
const work = `
  const pool = createRedisPool(${JSON.stringify(redis.url)})
  const done = pool.use(async client => {
    await client.set('x', '1')
    await client.multi().get('x').get('x').exec()
  }).then(() => pool.close())
`

describe('a service that is instrumented', { skip: redis.skip }, () => {
  const services: Readonly<Record<string, string>> = {
    'reaches ioredis by this package alone, by require': `
      ${HOOK}
      const { createRedisPool } = require(${JSON.stringify(entry)})
      ${work}`,
    'reaches ioredis by this package alone, by import()': `
      ${HOOK}
      import(${JSON.stringify(entry)}).then(({ createRedisPool }) => { ${work}; return done })`,
    'requires ioredis itself as well, behind this package': `
      ${HOOK}
      const { createRedisPool } = require(${JSON.stringify(entry)})
      require('ioredis')
      ${work}`,
  }
  for (const [what, code] of Object.entries(services)) {
    test(`${what}: its commands are seen`, async () => {
      const { stdout } = await promisify(execFile)(process.execPath, ['-e', code], { timeout: 20_000 })
      const [, spans] = /spans (\d+)/.exec(stdout) ?? []
      // SET, MULTI, GET, GET, EXEC; and what the handshake takes.
      assert.ok(Number(spans) >= 5, stdout)
    })
  }
})
