import { formatWithOptions } from 'node:util'
import createDebug from 'debug'
import { messageOf } from '../../api/errors.ts'
import { LogSink } from './log-sink.ts'

/** What debug writes with unless its user has put something else in its place. */
const debugsOwn = createDebug.log
/** Set before we came? debug's own is the one that writes to stderr and formats on the way. */
const wasReplaced = !/process\.stderr\.write/.test(String(debugsOwn))

/** Where the library's own lines go: never blocking, never growing, never holding the process. */
export const sink = new LogSink({}, 'lifeguard-pool: ')

/** In the place of debug's own, which has Node keep in memory without bound what nobody reads. */
function write(this: unknown, ...args: unknown[]): void {
  if (createDebug.log !== debugsOwn || wasReplaced) {
    Reflect.apply(createDebug.log, this, args)
    return
  }
  if (sink.isFull) {
    sink.drop()
    return
  }
  // debug's types do not have it: what DEBUG_COLORS, DEBUG_DEPTH and the like ask for.
  const { inspectOpts = {} } = createDebug as { inspectOpts?: object }
  sink.write(`${formatWithOptions(inspectOpts, ...args)}\n`)
}

/** One of the `DEBUG` channels. */
export interface LogChannel {
  (format: string, ...args: unknown[]): void
  readonly enabled: boolean
}

/** What a line is about may be the user's own, and throw as it is shown: that must not reach the step that tells of it. */
function channel(name: string): LogChannel {
  const debug = createDebug(`lifeguard-pool:${name}`)
  debug.log = write
  const tell = (format: string, ...args: unknown[]): void => {
    try {
      debug(format, ...args)
    } catch (error) {
      tellShort(debug, format, args, error)
    }
  }
  return Object.defineProperty(tell, 'enabled', { get: () => debug.enabled }) as LogChannel
}

/** The line without what cannot be shown. */
function tellShort(debug: createDebug.Debugger, format: string, args: unknown[], error: unknown): void {
  const shown = args.map(arg =>
    (typeof arg === 'object' && arg !== null) || typeof arg === 'function'
      ? `something that cannot be shown (${messageOf(error)})`
      : arg,
  )
  try {
    debug(format, ...shown)
  } catch {
    // A `log` function of the user's.
  }
}

/**
 * Whether loans are traced. debug's own `enabled` is a getter that costs as much as a tenth of a loan, so the answer
 * is kept, and looked up again whenever a connection is made.
 */
export const tracing = { loans: false }

export function refreshTracing(): void {
  tracing.loans = log.lend.enabled
}

/** The `DEBUG=lifeguard-pool:*` channels. Ask `.enabled` first where the arguments cost anything to make. */
export const log = {
  pool: channel('pool'),
  create: channel('create'),
  lend: channel('lend'),
  validate: channel('validate'),
  destroy: channel('destroy'),
  stall: channel('stall'),
  leak: channel('leak'),
  shed: channel('shed'),
}
