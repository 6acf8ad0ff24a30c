import { setTimeout as pause } from 'node:timers/promises'
import { createPool } from '../../src/index.ts'

/** A service that is told to end while a request still holds a connection; nobody awaits what gives it back. */
const how = process.argv[2]
const pool = createPool({ create: () => ({}), destroy: () => {} }, { max: 2 })
const resource = await pool.acquire()
const lease = await pool.lease()
await pool.close({ timeoutMillis: 1 }).catch(() => {})
if (how === 'release') void pool.release(resource)
if (how === 'destroy') void pool.destroy(resource)
if (how === 'lease.release') void lease.release()
if (how === 'lease.destroy') void lease.destroy()
if (how === 'dispose') void lease[Symbol.asyncDispose]()
await pause(10)
process.stdout.write('shut down in order\n')
