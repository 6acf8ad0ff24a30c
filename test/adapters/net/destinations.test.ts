import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { createSocketPool } from '../../../src/adapters/net/index.ts'
import { eventually } from '../../support/factories.ts'
import { startFaultServerProcess } from '../../support/fault-server.ts'

test('a stream that outlives many loans keeps no listener of the sockets that were piped into it', async () => {
  const server = await startFaultServerProcess({ mode: 'echo' })
  const pool = createSocketPool({ host: server.host, port: server.port }, { max: 1 })
  const log = new PassThrough()
  let bytes = 0
  log.on('data', (data: Buffer) => {
    bytes += data.length
  })
  const before = log.eventNames().map(name => [name, log.listenerCount(name)])
  for (let loan = 1; loan <= 3; loan += 1) {
    const socket = await pool.acquire()
    socket.pipe(log, { end: false })
    socket.write('line\n')
    await eventually(() => bytes === 5 * loan)
    await pool.release(socket)
    assert.deepEqual(
      log.eventNames().map(name => [name, log.listenerCount(name)]),
      before,
    )
  }
  assert.equal(pool.stats().totals.created, 1)
  await pool.close()
  log.destroy()
  await server.stop()
})
