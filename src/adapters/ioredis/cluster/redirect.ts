import type { Client, Command } from '../client/client-types.ts'
import { interceptErrorReplies } from '../client/replies/error-replies.ts'
import { type Address, addressOf } from '../failover/addresses.ts'
import type { Translate } from './view.ts'

/** What a node answers instead of carrying a command out. */
export interface Redirect {
  /**
   * `MOVED`: the slot belongs to another node. `ASK`: it is moving there, and the key has arrived already. `TRYAGAIN`: it
   * is moving, and only some of the keys have arrived.
   */
  readonly kind: 'MOVED' | 'ASK' | 'TRYAGAIN'
  /** `undefined` with TRYAGAIN. */
  readonly slot: number | undefined
  readonly to: Address | undefined
}

const TO = /^(MOVED|ASK) (\d+) (.*):(\d+)$/

/**
 * Reads an error reply.
 *
 * @param asked - the host of the node that answered: where it names none, it means its own
 */
export function redirectOf(message: string, asked: string, translate: Translate): Redirect | undefined {
  if (message.startsWith('TRYAGAIN')) return { kind: 'TRYAGAIN', slot: undefined, to: undefined }
  const found = TO.exec(message)
  if (found === null) return undefined
  const [, kind, slot, host = '', port] = found
  const isNamed = host !== '' && host !== '?'
  const address = addressOf(isNamed ? host.replace(/^\[(.*)\]$/, '$1') : asked, port)
  const to = address === undefined || !isNamed ? address : translated(address, translate)
  return { kind: kind as 'MOVED' | 'ASK', slot: Number(slot), to }
}

/** In the middle of an answer nobody could be told that `natMap` has failed. The next question for the topology says so. */
function translated(address: Address, translate: Translate): Address {
  try {
    return translate(address)
  } catch {
    return address
  }
}

/** Was a command with this error reply not carried out? */
export const isUndone = (message: string): boolean =>
  /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN|CROSSSLOT|EXECABORT|READONLY|MASTERDOWN|LOADING)\b/.test(message)

/** Commands that are sent for others, over a connection that is not theirs. */
export class SentCommands {
  /** Who is told of a redirection. */
  readonly #sent = new Map<Command, (redirect: Redirect | undefined) => void>()

  /** @param asked - the host of the node to which the client is connected */
  watch(client: Client, asked: string, translate: Translate): void {
    interceptErrorReplies(client, (error, command) => {
      const settled = this.#sent.get(command)
      const redirect = settled && redirectOf(error.message, asked, translate)
      if (redirect !== undefined) settled?.(redirect)
      return redirect !== undefined
    })
  }

  /** @returns where it must be sent instead, if it was not carried out */
  send(client: Client, command: Command, asking: boolean): Promise<Redirect | undefined> {
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
}
