import { PoolError } from '../../../api/errors.ts'
import { type Handle, LOAN } from './loan.ts'

type Callback = (error: unknown, reply?: unknown) => void
type Scan = (args: unknown, callback: Callback) => unknown

/**
 * The method of a client that makes streams of keys or members, for its handles. Such a stream takes the reply apart in a
 * callback, where it throws if that is none, and nobody could catch it; or ends as if there were no more.
 */
export function scanStreams(prototype: object): unknown {
  const original = Reflect.get(prototype, 'createScanStream') as (...args: unknown[]) => unknown
  return function (this: Handle, command: string, ...rest: unknown[]): unknown {
    const scan: Scan = (args, callback) =>
      (Reflect.get(this, command) as Scan).call(this, args, (error, reply) => {
        if (error || isPage(reply)) callback(error, reply)
        else callback(noPage(this[LOAN].lender.context.name, command))
      })
    return original.call({ [command]: scan }, command, ...rest)
  }
}

/** A cursor, and what was found. */
const isPage = (reply: unknown): boolean =>
  Array.isArray(reply) && (reply[0] ?? undefined) !== undefined && (reply[1] ?? undefined) !== undefined

const noPage = (pool: string, command: string): PoolError =>
  new PoolError(
    'POOL_BAD_REPLY',
    `pool '${pool}': the reply to ${command.toUpperCase()} is not a cursor and a list`,
    {
      pool,
    },
  )
