import type { Client, Command } from '../client/client-types.ts'
import type { RedisPoolContext } from '../redis-pool-context.ts'
import type { CustomCommands } from './custom-commands.ts'

/** What a handle needs to know of its loan. */
export interface Loan {
  readonly lender: LenderOf
  readonly ended: boolean
  /** There once a command was sent behind which not every other may follow. */
  readonly order: unknown
}

/** What the handles of one client share. */
export interface LenderOf {
  readonly client: Client
  readonly context: RedisPoolContext
  readonly definitions: CustomCommands
  /** Why the connection must not be lent again, beside what its borrower sent. */
  fault: string | undefined
  /** @returns behind what of this loan the command must not be sent, if so */
  conflict(loan: Loan, command: Command): string | undefined
  /** A command that may leave something behind is about to be sent. */
  note(loan: Loan, command: Command): void
  /** A command is about to be sent, in a pool where answers have been left outstanding. */
  noteSender(loan: Loan, command: Command): void
}

/** In a field of each handle; whatever inherits from a handle shares its loan. */
export const LOAN: unique symbol = Symbol('loan')

/** What a borrower has: it inherits all of the client, and keeps to itself what the borrower sets or listens to. */
export interface Handle extends Client {
  readonly [LOAN]: Loan
}

/** For what is done with a handle after its loan. */
export const ended = ({ lender }: Loan, what: string) => lender.context.leaseEnded(`redis.${what} was used`)

/** @throws PoolError `POOL_LEASE_ENDED` */
export function current(handle: Handle, what: string): LenderOf {
  const loan = handle[LOAN]
  if (loan.ended) throw ended(loan, what)
  return loan.lender
}
