/* A service with two pools, one of them full; reports on SIGUSR2 as it is told. Says its address on stdout. */
import { createServer } from 'node:http'
import { installReportSignal, reportHandler } from '../../src/diagnostics/index.ts'
import { createPool } from '../../src/index.ts'

const [file] = process.argv.slice(2)
const factory = { create: async () => ({}), destroy: async () => {} }
const full = createPool(factory, { name: 'full', acquireTimeoutMillis: false })
await full.acquire()
full.acquire().catch(() => {})
const idle = createPool(factory, { name: 'idle', min: 1 })
await idle.ready()
installReportSignal('SIGUSR2', file === undefined ? {} : { file })
const server = createServer(reportHandler())
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  process.stdout.write(`${port}\n`)
})
