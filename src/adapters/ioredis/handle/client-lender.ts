import { messageOf } from '../../../api/errors.ts'
import type { Leftover, Use } from '../../../connections/handles.ts'
import type { Client, Command, RedisClient } from '../client/client-types.ts'
import { interceptErrorReplies } from '../client/replies/error-replies.ts'
import { wrongRole } from '../client/role.ts'
import { condemns, type ReplyListener, watchReplies } from '../failover/failover-replies.ts'
import type { RedisPoolContext } from '../redis-pool-context.ts'
import type { WantedRole } from '../redis-pool-options.ts'
import { CustomCommands } from './custom-commands.ts'
import { type HandleClass, handleClass, sendCommand, shareEvents } from './handle.ts'
import { type Handle, LOAN, type Loan, type LoanGuard } from './loan.ts'
import { nameOf, ReplyOrder } from './reply-order.ts'
import { type Left, SessionState } from './session-state.ts'

/** One loan of one client. */
class HandleLoan implements Loan {
  readonly lender: ClientLender
  /** Whoever has lent the client; see `Handles`. */
  readonly owner: object
  readonly handle: Handle
  ended = false
  /** Set once a command was sent that may leave something behind. */
  session: SessionState | undefined
  /** Set once a command was sent after which not every other command may follow. */
  order: ReplyOrder | undefined
  /** The stack for each thing that may be left behind, where stacks are wanted. */
  stacks: Map<string, string> | undefined
  guard: LoanGuard | undefined = undefined

  constructor(lender: ClientLender, owner: object) {
    this.lender = lender
    this.owner = owner
    this.handle = new (lender.Handle as HandleClass)(this)
  }
}

/** Creates the handles of one client for its borrowers, and knows what they leave behind. */
export class ClientLender implements ReplyListener {
  readonly client: Client
  readonly context: RedisPoolContext
  readonly definitions: CustomCommands
  /** Created for the first loan. By then, `prepare` has defined its commands on the client. */
  Handle: HandleClass | undefined
  /** Why the connection must not be lent again, apart from what its borrowers sent. */
  fault: string | undefined
  /** A script's reply that looks like the error of a server that must not be used any more. */
  #doubt: string | undefined
  readonly #wanted: WantedRole
  readonly #epoch: number
  /** The database that the connection belongs to: the one selected when it is first lent. */
  #home: number | undefined
  #current: HandleLoan | undefined

  /**
   * @param wanted - the role that its server must have
   * @param epoch - `Failover.epoch` when the connection was dialled
   */
  constructor(given: RedisClient, context: RedisPoolContext, wanted: WantedRole, epoch: number) {
    const client = given as Client
    this.client = client
    this.context = context
    this.#wanted = wanted
    this.#epoch = epoch
    this.definitions = new CustomCommands(client)
    watchReplies(client, wanted, this)
    interceptErrorReplies(client, (error, command) => {
      const guard = this.#current?.guard
      if (guard !== undefined) return guard.answered(error, command)
      if (error.message.startsWith('MOVED ')) warnOfCluster(context, error.message)
      return false
    })
    shareEvents(client, () => this.#current?.handle)
  }

  lend(owner: object): Handle {
    // `prepare` may have selected another database than the options did.
    this.#home ??= this.#database
    this.Handle ??= handleClass(this.client)
    const loan = new HandleLoan(this, owner)
    this.#current = loan
    return loan.handle
  }

  /**
   * Ends the loan of a handle.
   * @returns what was left behind, or undefined
   */
  unlend(given: Loan): Leftover | undefined {
    const loan = given as HandleLoan
    loan.ended = true
    this.#current = undefined
    const { client } = this
    const pending = client.commandQueue.length
    const isClean = pending === 0 && loan.session === undefined && this.fault === undefined
    return isClean && this.#doubt === undefined && !client.condition?.subscriber
      ? undefined
      : this.#leftBehind(loan, pending)
  }

  conflict(given: Loan, command: Command): string | undefined {
    const loan = given as HandleLoan
    if (loan.order === undefined && !ReplyOrder.isNeededFor(command)) return undefined
    loan.order ??= new ReplyOrder()
    return loan.order.conflict(nameOf(command), this.client.commandQueue)
  }

  /** A subscription waits for messages, and MONITOR for the commands of others, without any command in progress. */
  get use(): Use {
    if (this.client.condition?.subscriber) return { awaits: 'messages of a subscription' }
    const { dirt, watching } = this.#current?.session?.left() ?? NOTHING
    if (dirt.includes('MONITOR')) return { awaits: 'MONITOR' }
    if (dirt.includes('MULTI')) return { open: 'MULTI' }
    return watching ? { open: 'WATCH' } : {}
  }

  record(given: Loan, command: Command): void {
    const loan = given as HandleLoan
    const { cleanCommands } = this.context.options
    loan.session ??= new SessionState(this.#home ?? this.#database, cleanCommands, error =>
      this.#failedWithin(error, loan.handle),
    )
    const suspicion = loan.session.sent(command)
    if (suspicion !== undefined) this.#suspect(loan, suspicion)
  }

  recordSender(loan: Loan, command: Command): void {
    this.#suspect(loan as HandleLoan, withoutAnswer(command.name))
  }

  get isLent(): boolean {
    return this.#current !== undefined
  }

  lost(error: Error): void {
    if (this.fault !== undefined) return
    this.fault = inReply(error)
    // If this borrower has changed the user, the error says nothing about other connections.
    if (this.#current?.session?.hasChangedUser) return
    this.context.failover.condemned(this.client, this.#wanted, this.#epoch, error)
  }

  doubtful(error: Error): void {
    this.#doubt ??= inReply(error)
  }

  /** Handles an error inside the reply of an EXEC. It is unknown which of the commands it belongs to. */
  #failedWithin(error: Error, handle: Handle): void {
    if (error.message.startsWith('NOSCRIPT')) this.definitions.forgetSent(handle)
    else if (condemns(error, this.#wanted)) this.doubtful(error)
  }

  #suspect(loan: HandleLoan, what: string): void {
    const stack = this.context.leftoverSites.stackIfWanted(what, sendCommand)
    if (stack === undefined) return
    loan.stacks ??= new Map()
    loan.stacks.set(what, stack)
  }

  /** Is the connection dirty? @returns what was left behind */
  #leftBehind(loan: HandleLoan, pending: number): Leftover | undefined {
    const { leftoverSites } = this.context
    const { dirt, watching, elsewhere } = loan.session?.left() ?? NOTHING
    for (const what of dirt) leftoverSites.record(what, loan.stacks?.get(what))
    const left = [...dirt]
    if (pending > 0) {
      const names = this.#pendingNames(pending)
      const what = withoutAnswer(names[0] ?? '')
      leftoverSites.record(what, loan.stacks?.get(what), true)
      left.push(`${pending} without an answer (${names.join(', ')})`)
    } else if (left.length === 0 && this.client.condition?.subscriber) left.push('SUBSCRIBE')
    if (this.fault !== undefined) left.push(this.fault)
    const [first] = left
    if (first !== undefined) {
      const detail = inWords([...left, ...(watching ? ['WATCH'] : [])])
      return { left: dirt[0] ?? (pending > 0 ? 'unanswered' : first), detail }
    }
    const home = this.#home ?? 0
    const moved = elsewhere || this.#database !== home
    return watching || moved || this.#doubt !== undefined
      ? this.#undo(watching, moved ? home : undefined)
      : undefined
  }

  /** The database that ioredis assumes is selected. */
  get #database(): number {
    const { select } = (this.client.condition ?? {}) as { select?: unknown }
    return Number(select ?? 0)
  }

  /**
   * Undoes what was left behind. This takes one round trip, while a new connection takes three or more for its
   * handshake. Nobody else has the connection meanwhile. Every step must be answered with OK.
   */
  #undo(watching: boolean, home: number | undefined): Leftover {
    const client = this.client as unknown as {
      unwatch(): Promise<unknown>
      select(db: number): Promise<unknown>
    }
    const moved = home !== undefined
    const doubt = this.#doubt
    this.#doubt = undefined
    const undo = async (): Promise<void> => {
      const steps = [...(watching ? [client.unwatch()] : []), ...(moved ? [client.select(home)] : [])]
      for (const reply of await Promise.all(steps)) {
        if (String(reply) !== 'OK') throw new Error(`the server answered ${String(reply)}`)
      }
      if (doubt !== undefined) await this.#checkServer(doubt)
    }
    const left = [...(watching ? ['WATCH'] : []), ...(moved ? ['SELECT'] : []), ...(doubt ? [doubt] : [])]
    return { left: left[0] ?? 'unknown', detail: inWords(left), undo }
  }

  /** A script's reply looked like that of a server with the wrong role, so this asks the server itself. */
  async #checkServer(doubt: string): Promise<void> {
    const wrong = await wrongRole(this.client, this.#wanted)
    if (wrong === undefined) return
    const error = new Error(`${doubt}; ${wrong}`)
    this.context.failover.condemned(this.client, this.#wanted, this.#epoch, error)
    throw error
  }

  #pendingNames(pending: number): string[] {
    const names = new Set<string>()
    for (let index = 0; index < Math.min(pending, 3); index += 1) {
      const item = this.client.commandQueue.peekAt(index) as { command?: { name?: unknown } }
      names.add(String(item.command?.name).toUpperCase().slice(0, 40))
    }
    return [...names]
  }
}

/** See `Handles.ownerOf`. */
export function ownerOf(handle: unknown): object | undefined {
  try {
    const loan = (handle as Partial<Handle> | null | undefined)?.[LOAN] as HandleLoan | undefined
    return loan === undefined || loan.ended ? undefined : loan.owner
  } catch {
    // A proxy of the user's that throws.
    return undefined
  }
}

/** See `Handles.unlend`. */
export function unlend(handle: unknown): Leftover | undefined {
  const loan = (handle as Handle)[LOAN]
  return (loan.lender as ClientLender).unlend(loan)
}

/** Once for each pool. */
function warnOfCluster(context: RedisPoolContext, reply: string): void {
  context.warnOnce(
    'LIFEGUARD_POOL_CLUSTER',
    `the server replied '${reply.slice(0, 80)}': it is a node of a Redis Cluster, and another one has the key. For a cluster ` +
      'call createRedisClusterPool',
  )
}

const inReply = (error: Error): string => `a reply '${messageOf(error).split(' ', 1)[0]}'`

const NOTHING: Left = { dirt: [], watching: false, elsewhere: false }

const withoutAnswer = (name: string): string => `${String(name).toUpperCase().slice(0, 40)} without an answer`

const inWords = (left: readonly string[]): string => `left behind: ${left.join(', ')}`
