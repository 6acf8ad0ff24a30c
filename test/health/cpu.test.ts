import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { test } from 'node:test'
import { eventually } from '../support/factories.ts'
import { startFaultServer } from '../support/fault-server.ts'

const PEERS = 200

test('a process with 200 half-closed peers does not spin: it idles below one percent of a core', async () => {
  const server = await startFaultServer()
  const script = new URL(`./idle-process${extname(import.meta.url)}`, import.meta.url)
  const child = fork(script, [String(server.port), String(PEERS)], { execArgv: ['--no-warnings'] })
  try {
    await once(child, 'message')
    server.waitForConnections(2 * PEERS)
    server.finAll()
    child.send('go')
    const reports: { percent: number; size: number }[] = []
    child.on('message', report => reports.push(report as (typeof reports)[number]))
    // The collector may have had something to do in one of them: what spins does so in each.
    await eventually(() => reports.slice(1).some(({ percent }) => percent < 1) || reports.length === 4, {
      within: 30_000,
    })
    const [, settled] = reports
    assert.equal(settled?.size, PEERS, 'the idle ones are gone, the lent ones are not')
    const percents = reports.slice(1).map(({ percent }) => percent)
    assert.ok(Math.min(...percents) < 1, `${percents} %`)
  } finally {
    child.kill()
    await server.stop()
  }
})
