import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { turns } from '../../support/factories.ts'
import { startFaultServerProcess } from '../../support/fault-server.ts'
import { countSockets } from '../../support/fds.ts'
import { withRedis } from '../../support/redis.ts'
import { factoryOf, heldTimers, rejection, versions } from './versions.ts'

// All servers are processes of their own: what is counted here is the client's side alone.
const guarded = await withRedis({ requirepass: 'open' })
const redis = await withRedis({ databases: '1' })
const silent = await startFaultServerProcess()
const garbage = await startFaultServerProcess({
  mode: 'greeting',
  greeting: '+OK\r\n+OK\r\n+STRAY\r\nnonsense',
})
after(async () => {
  await Promise.all([guarded.stop(), redis.stop(), silent.stop(), garbage.stop()])
})
// Nobody listens there. A free port that the kernel chose may be another test's a moment later.
const refusing = { port: 1 }

const { skip } = redis
const noProc = countSockets() === undefined && 'there is no /proc'

for (const { name, Client } of versions) {
  describe(`${name}: failing creates`, { skip: skip || noProc }, () => {
    const bad = (): readonly object[] => [
      { host: '127.0.0.1', port: guarded.server.port, password: 'wrong' },
      { host: '127.0.0.1', port: redis.server.port, db: 1 },
      { host: '127.0.0.1', port: refusing.port },
      { host: '127.0.0.1', port: garbage.port },
      { host: '127.0.0.1', port: silent.port },
      { host: '127.0.0.1', port: silent.port, tls: {} },
      { sentinels: [{ host: '127.0.0.1', port: silent.port }], name: 'mymaster' },
      { sentinels: [{ host: '127.0.0.1', port: refusing.port }], name: 'mymaster' },
    ]

    test('a thousand in a row leave neither a socket nor a timer', { timeout: 60_000 }, async () => {
      const factories = bad().map(options => factoryOf(Client, options))
      const failAll = async () => {
        await Promise.all(
          factories.map(async factory => {
            const dial = new AbortController()
            const impatient = setTimeout(() => dial.abort(), 15).unref()
            await rejection(factory.create(dial.signal))
            clearTimeout(impatient)
          }),
        )
      }
      // What the first ones bring along, such as files that are read once, is not counted.
      await failAll()
      await pause(50)
      const before = { ...countSockets(), timers: heldTimers() }
      for (let round = 0; round < 125; round += 1) await failAll()
      // ioredis hears of a closed socket, and clears its timers, one turn later.
      await turns(2)
      assert.deepEqual({ ...countSockets(), timers: heldTimers() }, before)
    })

    test('the socket is closed when the rejection arrives, and not some time later', async () => {
      for (const options of bad()) {
        const before = countSockets()?.sockets
        const dial = new AbortController()
        const made = rejection(factoryOf(Client, options).create(dial.signal))
        const impatient = setTimeout(() => dial.abort(), 30)
        await made
        assert.equal(countSockets()?.sockets, before, JSON.stringify(options))
        clearTimeout(impatient)
      }
    })

    test('a process whose creates fail ends by itself, without an unhandled rejection', async () => {
      const here = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
      const code = `
        import { factoryOf, versions } from ${here('./versions.js')}
        const { Client } = versions.find(({ name }) => name === ${JSON.stringify(name)})
        for (const options of ${JSON.stringify(bad())}) {
          const dial = new AbortController()
          const impatient = setTimeout(() => dial.abort(), 30)
          const made = factoryOf(Client, options).create(dial.signal)
          await made.then(() => console.log('made', options), () => {})
          clearTimeout(impatient)
        }
        for (let turn = 0; turn < 2; turn += 1) await new Promise(setImmediate)
        console.log(process.getActiveResourcesInfo().filter(name => /Timeout|TCP/.test(name)).join())`
      const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
        timeout: 30_000,
      })
      const { stdout, stderr } = await run
      assert.deepEqual([stdout, stderr], ['\n', ''])
    })
  })
}
