import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { test } from 'node:test'
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
    while (reports.length < 2) reports.push((await once(child, 'message'))[0])
    const [, settled] = reports
    assert.equal(settled?.size, PEERS, 'the idle ones are gone, the lent ones are not')
    assert.ok((settled?.percent ?? 100) < 1, `${settled?.percent} %`)
  } finally {
    child.kill()
    await server.stop()
  }
})
