// redis@4 with this package in the place of its generic-pool. Plays against the server at argv[2], with keys that begin
// with argv[3], and tells what it saw on stdout. It does not exit: `quit()` has to let the process end.
import Module, { createRequire } from 'node:module'
import { sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Pool } from '../../src/index.ts'
import { eventually, settledWithin } from '../support/factories.ts'

export interface Redis4Facts {
  /** From which files `generic-pool` was asked for and ours was given. */
  readonly redirected: readonly string[]
  /** How often our pool lent to `executeIsolated`. */
  readonly lent: number
  readonly undisturbed: unknown
  readonly disturbed: string
  readonly popped: readonly unknown[]
  readonly mostConnections: number
  readonly failure: string
  readonly quit: string
}

/** Node's own, and undocumented: where everybody redirects a `require` who has to support Node 20. */
interface Resolver {
  _resolveFilename(
    request: string,
    parent: { filename?: string | null } | undefined,
    ...rest: unknown[]
  ): string
}

const WAITING = 6
const MAX = 4

const ours = fileURLToPath(new URL('../../src/index.js', import.meta.url))
const resolver = Module as unknown as Resolver
const resolve = resolver._resolveFilename
const redirected: string[] = []
resolver._resolveFilename = function (request, parent, ...rest) {
  const from = parent?.filename ?? ''
  if (request !== 'generic-pool' || !from.includes(`${sep}@redis${sep}client${sep}`)) {
    return resolve.call(this, request, parent, ...rest)
  }
  redirected.push(from.slice(from.lastIndexOf('@redis')).replaceAll(sep, '/'))
  return ours
}

let lent = 0
const { use } = Pool.prototype
Pool.prototype.use = function (this: Pool<unknown>, ...given: Parameters<typeof use>) {
  lent += 1
  return use.apply(this, given) as ReturnType<typeof use>
} as typeof use

const [, , url = '', prefix = ''] = process.argv
// Only now: requiring it is what asks for generic-pool.
const { createClient } = createRequire(import.meta.url)('redis-4') as typeof import('redis-4')
const client = createClient({
  url,
  name: prefix,
  isolationPoolOptions: { max: MAX, acquireTimeoutMillis: 3000 },
})
client.on('error', error => process.stderr.write(`redis-4: ${String(error)}\n`))
await client.connect()

/** The connections of this process, as the server sees them; `b` among the flags: blocked. */
const connections = async () => (await client.clientList()).filter(({ name }) => name === prefix)

const balance = `${prefix}balance`
await client.set(balance, '10')
const undisturbed = await client.executeIsolated(async isolated => {
  await isolated.watch(balance)
  const seen = Number(await isolated.get(balance))
  return isolated
    .multi()
    .set(balance, String(seen + 1))
    .get(balance)
    .exec()
})
const disturbed = await client
  .executeIsolated(async isolated => {
    await isolated.watch(balance)
    await client.set(balance, '0')
    return isolated.multi().set(balance, '99').exec()
  })
  .then(
    result => `executed: ${JSON.stringify(result)}`,
    (error: Error) => error.constructor.name,
  )

// More callers that block than connections: four block in the server, two in the pool's queue.
const queue = `${prefix}queue`
const blocked = Array.from({ length: WAITING }, () =>
  client.executeIsolated(async isolated => (await isolated.blPop(queue, 5))?.element),
)
await eventually(async () => (await connections()).filter(({ flags }) => flags.includes('b')).length === MAX)
const mostConnections = (await connections()).length
for (let item = 0; item < WAITING; item += 1) await client.rPush(queue, `item ${item}`)
const popped = (await Promise.all(blocked)).sort()

const failure = await client
  .executeIsolated(() => Promise.reject(new Error('business')))
  .catch((error: Error) => error.message)
await client.executeIsolated(isolated => isolated.del([balance, queue]))

const quit = await settledWithin(client.quit(), 3000)
const facts: Redis4Facts = {
  redirected,
  lent,
  undisturbed,
  disturbed,
  popped,
  mostConnections,
  failure,
  quit: quit.state,
}
process.stdout.write(`${JSON.stringify(facts)}\n`)
