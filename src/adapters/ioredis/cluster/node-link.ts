import { PoolError } from '../../../api/errors.ts'
import { onAbort } from '../../../runtime/abort.ts'
import { systemClock } from '../../../runtime/time/clock.ts'
import { destroyClient, streamOf } from '../client/client.ts'
import type { Client, Command } from '../client/client-types.ts'
import { interceptErrorReplies } from '../client/replies/error-replies.ts'
import { askRole } from '../client/role.ts'
import { type Address, inWords } from '../failover/addresses.ts'
import { type Redirect, redirectOf } from './redirect.ts'
import { readView, type Translate, type View } from './view.ts'

/** How long a node may take to answer, connecting included. Milliseconds. */
const ANSWER_MILLIS = 1000

/** Makes a connected client to a node. */
export type OpenLink = (address: Address, signal: AbortSignal) => Promise<Client>

/**
 * The pool's own connection to a node: to ask it for the topology and whether it is alive, and to send it single commands
 * of a slot that is being moved to it. It never keeps the process alive.
 */
export class NodeLink {
  readonly #address: Address
  readonly #open: OpenLink
  readonly #translate: Translate
  #opening: Promise<Client> | undefined
  #client: Client | undefined
  readonly #abort = new AbortController()
  /** The commands sent for others, and who is told of a redirection. */
  readonly #sent = new Map<Command, (redirect: Redirect | undefined) => void>()

  constructor(address: Address, open: OpenLink, translate: Translate) {
    this.#address = address
    this.#open = open
    this.#translate = translate
  }

  /** Asks the node for the topology. */
  async view(): Promise<View> {
    return this.#timed(async client => {
      const [slots, info, id] = await Promise.all([
        client.call('CLUSTER', 'SLOTS'),
        client.call('CLUSTER', 'INFO').catch(unlessReply),
        client.call('CLUSTER', 'MYID').catch(unlessReply),
      ])
      return readView({ slots, info, id }, this.#address, this.#translate)
    })
  }

  /** Asks the node whether it is a primary. */
  async isPrimary(): Promise<boolean> {
    return this.#timed(async client => {
      const role = await client.call('ROLE').catch(unlessReply)
      // The user may not be allowed to ask for it.
      return (Array.isArray(role) ? String(role[0]) : await askRole(client)) === 'master'
    })
  }

  /** Rejects if the node does not answer in time. An error reply is an answer. */
  async ping(): Promise<void> {
    await this.#timed(client => client.ping().catch(unlessReply))
  }

  /**
   * Sends a command that has been sent to another node before. It settles as usual.
   *
   * @returns where it must be sent instead, if it was not carried out
   */
  async send(command: Command, asking: boolean): Promise<Redirect | undefined> {
    const client = await this.#connected()
    return new Promise(resolve => {
      const settled = (redirect: Redirect | undefined): void => {
        this.#sent.delete(command)
        resolve(redirect)
      }
      this.#sent.set(command, settled)
      command.promise.then(
        () => settled(undefined),
        () => settled(undefined),
      )
      // In one step: the node carries out the next command of this connection as if the slot were its own already.
      if (asking) client.call('ASKING').catch(() => {})
      client.sendCommand(command)
    })
  }

  close(): void {
    this.#abort.abort(new Error('the link to the node was closed'))
    if (this.#client !== undefined) destroyClient(this.#client)
  }

  async #timed<R>(ask: (client: Client) => Promise<R>): Promise<R> {
    let silent = (_error: Error): void => {}
    const timer = systemClock.after(ANSWER_MILLIS, () => {
      silent(new PoolError('POOL_CONNECT_FAILED', `the node ${inWords(this.#address)} does not answer`))
      // A client that others wait for goes on: a command of theirs may take longer.
      if (this.#client !== undefined && this.#sent.size === 0) destroyClient(this.#client)
    })
    try {
      return await new Promise<R>((resolve, reject) => {
        silent = reject
        this.#connected().then(ask).then(resolve, reject)
      })
    } finally {
      timer.cancel()
    }
  }

  #connected(): Promise<Client> {
    if (this.#client?.status === 'ready') return Promise.resolve(this.#client)
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #connect(): Promise<Client> {
    const abort = new AbortController()
    const giveUp = (): void => abort.abort(new Error(`no answer within ${ANSWER_MILLIS} ms`))
    const timer = systemClock.after(ANSWER_MILLIS, giveUp)
    const stop = onAbort(this.#abort.signal, giveUp)
    try {
      const client = await this.#open(this.#address, abort.signal)
      streamOf(client)?.unref()
      interceptErrorReplies(client, (error, command) => {
        const settled = this.#sent.get(command)
        const redirect = settled && redirectOf(error.message, this.#address.host, this.#translate)
        if (redirect !== undefined) settled?.(redirect)
        return redirect !== undefined
      })
      this.#client = client
      if (this.#abort.signal.aborted) destroyClient(client)
      return client
    } finally {
      timer.cancel()
      stop()
    }
  }
}

function unlessReply(error: unknown): void {
  if ((error as Error | undefined)?.name !== 'ReplyError') throw error
}
