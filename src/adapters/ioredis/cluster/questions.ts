import type { Redis } from 'ioredis'
import { LONGEST_MILLIS } from '../../../api/options/option-table.ts'
import type { ControlPlace } from '../../../connecting/control-place.ts'
import { onAbort } from '../../../runtime/abort.ts'
import { systemClock, type Timer } from '../../../runtime/time/clock.ts'
import type { Client } from '../client/client-types.ts'
import { askRole } from '../client/role.ts'
import type { Address } from '../failover/addresses.ts'
import { readView, type Translate, type View } from './view.ts'

/* What the cluster's pool asks a node, over a connection that is not lent. An error reply is an answer. */

export interface LinkHost {
  readonly translate: Translate
  /** Makes a connected client to a node. `time` is told when credentials are asked for, and when the node is. */
  open(address: Address, signal: AbortSignal, time: NodeTime): Promise<Client>
  /** Its place among the connections of the node's pool; undefined if there is no pool. */
  placeAt(address: Address): ControlPlace<Redis> | undefined
  /** Is it no node of the cluster, by what is known? As a seed under another name than the cluster has for the node. */
  isStranger(address: Address): boolean
  /** The error for a question to a node that is not to be connected to now, as it refused that a moment ago. */
  refusalOf(address: Address): NotAsked | undefined
}

/** Told whether the node is what is waited for; otherwise it is the function `credentials`. */
export type OnAsk = (isAsked: boolean) => void

/** Since when a node has been asked. The time that the function `credentials` takes is no silence of the node. */
export class NodeTime {
  #since = Number.NEGATIVE_INFINITY
  readonly #waiting = new Set<OnAsk>()

  /** Since when the node is connected to; now, while credentials are asked for. */
  get since(): number {
    return Math.min(this.#since, systemClock.now())
  }

  /** Credentials are asked for. */
  hold(): void {
    this.#since = Number.POSITIVE_INFINITY
    for (const onAsk of this.#waiting) onAsk(false)
  }

  /** The node is connected to. */
  begin(): void {
    this.#since = systemClock.now()
    for (const onAsk of this.#waiting) onAsk(true)
  }

  /** The connect has ended. What is asked now is answered, or not, by the node. */
  end(): void {
    if (this.#since === Number.POSITIVE_INFINITY) this.#since = Number.NEGATIVE_INFINITY
  }

  /** Calls `onAsk` at once, and each time when that changes, until the work is done. */
  async during<R>(work: Promise<R>, onAsk: OnAsk): Promise<R> {
    onAsk(this.#since !== Number.POSITIVE_INFINITY)
    this.#waiting.add(onAsk)
    try {
      return await work
    } finally {
      this.#waiting.delete(onAsk)
    }
  }
}

/** Connects to a node within so many milliseconds, and unless the signal is aborted before. */
export async function openWithin<R>(
  millis: number,
  signal: AbortSignal,
  open: (signal: AbortSignal) => Promise<R>,
): Promise<R> {
  const abort = new AbortController()
  const tooLate = new Error(`no answer within ${millis} ms`)
  const timer = systemClock.after(Math.min(millis, LONGEST_MILLIS), () => abort.abort(tooLate))
  const stop = onAbort(signal, () => abort.abort(signal.reason))
  try {
    return await open(abort.signal)
  } finally {
    timer.cancel()
    stop()
  }
}

/**
 * The question was not answered, as an acquire needed the connection, or the node has refused one a moment ago. That tells
 * nothing about the node.
 */
export class NotAsked extends Error {
  override readonly name = 'NotAsked'
}

/**
 * @param silent - called after so many milliseconds without an answer; it returns the error
 * @param time - of the node: they are counted from when it was connected to
 */
export async function answerWithin<R>(
  millis: number,
  ask: () => Promise<R>,
  silent: () => Error,
  time: NodeTime,
): Promise<R> {
  let timer: Timer | undefined
  const start = systemClock.now()
  try {
    return await new Promise<R>((resolve, reject) => {
      const look = (): void => {
        const left = Math.max(start, time.since) + millis - systemClock.now()
        if (left > 0) timer = systemClock.after(left, look)
        else reject(silent())
      }
      timer = systemClock.after(millis, look)
      ask().then(resolve, reject)
    })
  } finally {
    timer?.cancel()
  }
}

/** @param address - that of the node */
export async function askView(client: Client, address: Address, translate: Translate): Promise<View> {
  const [slots, info, id] = await Promise.all([
    client.call('CLUSTER', 'SLOTS'),
    client.call('CLUSTER', 'INFO').catch(unlessReply),
    client.call('CLUSTER', 'MYID').catch(unlessReply),
  ])
  return readView({ slots, info, id }, address, translate)
}

export async function askIsPrimary(client: Client): Promise<boolean> {
  const role = await client.call('ROLE').catch(unlessReply)
  // The user may not be allowed to ask for it.
  return (Array.isArray(role) ? String(role[0]) : await askRole(client)) === 'master'
}

export async function askPing(client: Client): Promise<void> {
  await client.ping().catch(unlessReply)
}

function unlessReply(error: unknown): void {
  if ((error as Error | undefined)?.name !== 'ReplyError') throw error
}
