import assert from 'node:assert/strict'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request } from 'node:http'
import { after, test } from 'node:test'
import { diagnosticsHandler, type Timeline } from '../../src/diagnostics/index.ts'
import { CountingFactory, eventually } from '../support/factories.ts'
import { open } from '../support/pools.ts'

const server = createServer(diagnosticsHandler()).listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as { port: number }
after(() => {
  server.close()
  server.closeAllConnections()
})
const isRecording = (): boolean => channel('lifeguard-pool:state').hasSubscribers

async function ask(path: string): Promise<{ response: IncomingMessage; leave(): void }> {
  const asked = request({ port, path, agent: false })
  asked.on('error', () => {}).end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return { response, leave: () => asked.destroy() }
}

test('a recording of some time is answered as JSON, of all pools or of one', async () => {
  const pool = open(new CountingFactory(), { name: 'heard' })
  const silent = open(new CountingFactory(), { name: 'silent' })
  const answered = fetch(`http://127.0.0.1:${port}/timeline.json?seconds=0.3&pool=heard`)
  await eventually(isRecording)
  await pool.use(() => {})
  await silent.use(() => {})
  const response = await answered
  const timeline = (await response.json()) as Timeline
  assert.deepEqual(
    timeline.pools.map(({ name }) => name),
    ['heard'],
  )
  assert.ok(timeline.spans.length >= 1)
  await eventually(() => !isRecording())
})

test('a client that leaves ends its recording, and a third one at a time is refused', async () => {
  const [one, two] = [await ask('/timeline.json?seconds=600'), await ask('/timeline.json?seconds=600')]
  assert.equal(isRecording(), true)
  const third = await fetch(`http://127.0.0.1:${port}/timeline.json`)
  assert.equal(third.status, 503)
  one.leave()
  two.leave()
  await eventually(() => !isRecording())
  const next = await ask('/timeline.json?seconds=600')
  assert.equal(next.response.statusCode, 200)
  next.leave()
  await eventually(() => !isRecording())
})

test('a time that is none is refused', async () => {
  for (const seconds of ['0', '-1', 'x', '601', '1e9', 'Infinity', 'NaN'])
    assert.equal((await fetch(`http://127.0.0.1:${port}/timeline.json?seconds=${seconds}`)).status, 400)
  assert.equal(isRecording(), false)
})
