/* Processes with a fault. Argument: which one. Each says its port on stdout when the fault is about to strike. */
import { execSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'

const [, , which = '', url = ''] = process.argv

const FAULTS: Readonly<Record<string, () => void>> = {
  'its own code': () => {
    for (;;) Math.sqrt(Math.random())
  },
  execSync: () => execSync('sleep 60'),
  descriptors: () => {
    const files: number[] = []
    try {
      for (;;) files.push(openSync('/dev/null', 'r'))
    } catch {
      // All are in use. What is left must do for a while.
      for (const file of files.slice(-3)) closeSync(file)
    }
  },
  /** Asks a server, and gets no answer. */
  'silent server': () => {
    const redis = new Redis(url)
    redis.on('ready', () => setInterval(() => redis.ping().catch(() => {}), 50))
  },
}

const server = createServer((_request, response) => {
  FAULTS[which]?.()
  response.end('ok')
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
