/* A client of ioredis without a server: what is sent is kept, and the test answers it. */

import { Redis } from 'ioredis'
import type { Client, Command } from '../../../../src/adapters/ioredis/client/client-types.ts'
import { watchErrorReplies } from '../../../../src/adapters/ioredis/client/replies/error-replies.ts'
import { ClientLender, unlend } from '../../../../src/adapters/ioredis/handle/client-lender.ts'
import { type Handle, LOAN, type LoanGuard } from '../../../../src/adapters/ioredis/handle/loan.ts'
import { RedisPoolContext } from '../../../../src/adapters/ioredis/redis-pool-context.ts'
import { NO_ADAPTER_OPTIONS, type WantedRole } from '../../../../src/adapters/ioredis/redis-pool-options.ts'
import type { Leftover } from '../../../../src/connections/handles.ts'

/** The database that the connections belong to. */
export const HOME = 3

/** An error as ioredis makes it of an error reply. */
export const replyError = (message: string): Error =>
  Object.assign(new Error(message), { name: 'ReplyError' })

/** What the tests set of a client. */
interface Scripted {
  status: string
  stream: { writable: boolean; destroyed: boolean; destroy(): void }
  condition: { select: number; subscriber: unknown } | null
}

export interface Site {
  readonly left: string
  readonly times: number
  readonly stack: string
}

/** A lender whose pool is a double. */
export function lenderOf(wanted: WantedRole = 'primary') {
  const redis = new Redis({ lazyConnect: true, port: 1 })
  const client = redis as unknown as Client
  const stream = {
    writable: true,
    destroyed: false,
    destroy() {
      stream.destroyed = true
    },
  }
  Object.assign(redis, { status: 'ready', stream, condition: { select: HOME, subscriber: false } })
  const sent: Command[] = []
  const send = (command: Command): Promise<unknown> => {
    sent.push(command)
    return command.promise
  }
  Object.defineProperty(redis, 'sendCommand', { value: send, writable: true, configurable: true })
  watchErrorReplies(client)
  const context = new RedisPoolContext({ ...NO_ADAPTER_OPTIONS, cleanCommands: new Set(['mine']) })
  const sites: Site[] = []
  const announce = (_: string, site: Site): void => void sites.push(site)
  context.attach({ name: 'scripted', announce, purge: () => {}, stats: () => ({}) } as never)
  const condemned: string[] = []
  context.failover.condemned = (_client, _wanted, _epoch, error) => void condemned.push(error.message)
  const lender = new ClientLender(client, context, wanted, 0)
  /** The server answers the oldest command that has no answer. An error reply takes the way that ioredis gives it. */
  const answer = (reply: unknown): void => {
    const command = sent.shift() as Command
    if (reply instanceof Error)
      (redis as unknown as { handleReconnection(error: Error, item: object): void }).handleReconnection(
        reply,
        {
          command,
        },
      )
    else command.resolve(reply)
  }
  const lend = (owner: object = {}): Redis => lender.lend(owner) as unknown as Redis
  /** Sends a command of a loan and ignores what becomes of it. */
  const run = (handle: Redis, name: string, ...args: string[]): void => {
    handle.sendCommand(new Redis.Command(name, args) as never)
    sent.at(-1)?.promise.catch(() => {})
  }
  const giveBack = (handle: Redis): Leftover | undefined => unlend(handle)
  return {
    ...{ redis, lender, context, sent, sites, condemned, stream, answer, lend, run, giveBack },
    scripted: redis as unknown as Scripted,
  }
}

export const loanOf = (handle: Redis): Handle[typeof LOAN] => (handle as unknown as Handle)[LOAN]

/** A guard that refuses some commands and hears of the others. */
export function guardOf(...refused: string[]): LoanGuard & { readonly heard: string[] } {
  const heard: string[] = []
  return {
    heard,
    refusal: ({ name }: Command) => (refused.includes(name) ? new Error(`${name} is refused`) : undefined),
    sent: ({ name }: Command) => void heard.push(name),
    answered: () => false,
  }
}
