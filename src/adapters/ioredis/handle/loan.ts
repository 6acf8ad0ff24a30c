import type { Client, Command } from '../client/client-types.ts'
import type { RedisPoolContext } from '../redis-pool-context.ts'
import type { CustomCommands } from './custom-commands.ts'

/** What a handle needs to know about its loan. */
export interface Loan {
  readonly lender: LenderOf
  readonly ended: boolean
  /** Set once a command was sent after which not every other command may follow. */
  readonly order: unknown
  /** Watches over the commands of this loan, on a node of a cluster. */
  guard: LoanGuard | undefined
}

/** What a cluster does about the commands of a loan. */
export interface LoanGuard {
  /** Called before commands are sent. @returns the error with which one must be refused */
  refusal(command: Command): Error | undefined
  /** Called when a command is sent. */
  sent(command: Command): void
  /**
   * Called with an error reply, before its command is rejected.
   * @returns whether it has dealt with the command
   */
  answered(error: Error, command: Command): boolean
}

/** What the handles of one client share. */
interface LenderOf {
  readonly client: Client
  readonly context: RedisPoolContext
  readonly definitions: CustomCommands
  /** Why the connection must not be lent again, apart from what its borrower sent. */
  fault: string | undefined
  /** @returns the earlier command of this loan after which this one must not be sent, or undefined */
  conflict(loan: Loan, command: Command): string | undefined
  /** Called before a command is sent that may leave something behind. */
  record(loan: Loan, command: Command): void
  /** Called before each command is sent, in a pool where commands were left without an answer before. */
  recordSender(loan: Loan, command: Command): void
}

/** A field of every handle. An object that inherits from a handle shares its loan. */
export const LOAN: unique symbol = Symbol('loan')

/** What a borrower is given. It inherits everything from the client, and keeps what the borrower sets or listens to. */
export interface Handle extends Client {
  readonly [LOAN]: Loan
}

/** The error for using a handle after its loan. */
export const ended = ({ lender }: Loan, what: string) => lender.context.leaseEnded(`redis.${what} was used`)

/** @throws PoolError `POOL_LEASE_ENDED` */
export function current(handle: Handle, what: string): LenderOf {
  const loan = handle[LOAN]
  if (loan.ended) throw ended(loan, what)
  return loan.lender
}
