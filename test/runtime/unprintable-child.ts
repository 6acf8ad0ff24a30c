import { inspect } from 'node:util'
import createDebug from 'debug'
import { createPool } from '../../src/index.ts'

/** A factory whose failures throw when somebody looks at them, under `DEBUG`; then it works. */
const kind = process.argv[2]
const no = (): never => {
  throw new Error('do not look')
}
function unprintable(): unknown {
  if (kind === 'inspect') return Object.assign(new Error('inspected'), { [inspect.custom]: no })
  if (kind === 'proxy')
    return new Proxy(new Error('proxied'), { get: no, has: no, ownKeys: no, getPrototypeOf: no })
  const error = new Error('got')
  for (const name of [
    'message',
    'name',
    'stack',
    'code',
    'cause',
    'then',
    Symbol.toStringTag,
    inspect.custom,
  ])
    Object.defineProperty(error, name, { get: no })
  return error
}
if (kind === 'debug.log') createDebug.log = no

let [creates, validations, resets] = [0, 0, 0]
const pool = createPool<object>(
  {
    create: () => {
      creates += 1
      return creates === 1 ? Promise.reject(unprintable()) : {}
    },
    validate: () => {
      validations += 1
      if (validations === 1) throw unprintable()
      return true
    },
    reset: () => {
      resets += 1
      if (resets === 1) throw unprintable()
    },
    destroy: () => {
      throw unprintable()
    },
  },
  { max: 1, testOnBorrow: true },
)
pool.on('factoryCreateError', no).on('factoryDestroyError', no)
for (let loan = 0; loan < 3; loan += 1) {
  const resource = await pool.acquire()
  pool.report()
  await pool.release(resource)
}
await pool.use(() => Promise.reject(unprintable())).catch(() => {})
await pool.acquire()
await pool.close({ timeoutMillis: 1 }).catch(() => {})
process.stdout.write('served\n')
