import { setTimeout as pause } from 'node:timers/promises'
import { serveDiagnostics } from '../../src/diagnostics/index.ts'
import { createPool } from '../../src/index.ts'

/* A process with a pool at work, for the tests of `timeline`: with a socket at the path that is given, or with none. */

const [path = ''] = process.argv.slice(2)
const pool = createPool(
  { create: async () => ({}), destroy: async () => {} },
  { name: '</script><script>alert(1)</script>', max: 2 },
)

async function worker(): Promise<void> {
  for (;;) {
    await pool.use(() => pause(5))
    await pause(1)
  }
}

if (path !== '') await serveDiagnostics({ path })
for (let index = 0; index < 3; index += 1) void worker()
process.stdout.write('ready\n')
