import { formatWithOptions } from 'node:util'
import createDebug from 'debug'
import { messageOf } from '../../api/errors.ts'
import { LogSink } from './log-sink.ts'

/** The function that debug writes with, unless its user has replaced it. */
const debugsOwn = createDebug.log
/** Was it replaced before this file was loaded? debug's own function formats the line and writes to stderr. */
const wasReplaced = !/process\.stderr\.write/.test(String(debugsOwn))

/** Where the library's own lines go. It never blocks, never grows without bound, and never keeps the process alive. */
export const sink = new LogSink({}, 'lifeguard-pool: ')

/** Used instead of debug's own function, with which Node keeps unread lines in memory without bound. */
function write(this: unknown, ...args: unknown[]): void {
  if (createDebug.log !== debugsOwn || wasReplaced) {
    Reflect.apply(createDebug.log, this, args)
    return
  }
  if (sink.isFull) {
    sink.drop()
    return
  }
  // What DEBUG_COLORS, DEBUG_DEPTH and so on ask for. debug's types leave it out.
  const { inspectOpts = {} } = createDebug as { inspectOpts?: object }
  sink.write(`${formatWithOptions(inspectOpts, ...args)}\n`)
}

/** One of the `DEBUG` channels. */
interface LogChannel {
  (format: string, ...args: unknown[]): void
  readonly enabled: boolean
}

/**
 * Creates a channel. A logged value may be the user's and throw while it is formatted. That must not reach the step
 * that logs it.
 */
function channel(name: string): LogChannel {
  const debug = createDebug(`lifeguard-pool:${name}`)
  debug.log = write
  const print = (format: string, ...args: unknown[]): void => {
    try {
      debug(format, ...args)
    } catch (error) {
      logShortened(debug, format, args, error)
    }
  }
  return Object.defineProperty(print, 'enabled', { get: () => debug.enabled }) as LogChannel
}

/** Logs the line without the values that cannot be formatted. */
function logShortened(debug: createDebug.Debugger, format: string, args: unknown[], error: unknown): void {
  const shown = args.map(arg =>
    (typeof arg === 'object' && arg !== null) || typeof arg === 'function'
      ? `something that cannot be shown (${messageOf(error)})`
      : arg,
  )
  try {
    debug(format, ...shown)
  } catch {
    // The user's own `log` function throws.
  }
}

/**
 * Whether loans are logged. debug's `enabled` is a getter that costs up to a tenth of a loan, so the value is cached.
 * It is refreshed whenever a connection is created.
 */
export const tracing = { loans: false }

export function refreshTracing(): void {
  tracing.loans = log.lend.enabled
}

/** The `DEBUG=lifeguard-pool:*` channels. Check `.enabled` first where building the arguments costs anything. */
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
