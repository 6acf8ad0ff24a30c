import type { Redis } from 'ioredis'
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
  /** Makes a connected client to a node. */
  open(address: Address, signal: AbortSignal): Promise<Client>
  /** Its place among the connections of the node's pool; undefined if there is no pool. */
  placeAt(address: Address): ControlPlace<Redis> | undefined
  /** Is it no node of the cluster, by what is known? As a seed under another name than the cluster has for the node. */
  isStranger(address: Address): boolean
}

/** Connects to a node within so many milliseconds, and unless the signal is aborted before. */
export async function openWithin(
  millis: number,
  signal: AbortSignal,
  open: (signal: AbortSignal) => Promise<Client>,
): Promise<Client> {
  const abort = new AbortController()
  const tooLate = new Error(`no answer within ${millis} ms`)
  const timer = systemClock.after(millis, () => abort.abort(tooLate))
  const stop = onAbort(signal, () => abort.abort(signal.reason))
  try {
    return await open(abort.signal)
  } finally {
    timer.cancel()
    stop()
  }
}

/** The question was not answered, as an acquire needed the connection. That tells nothing about the node. */
export class NotAsked extends Error {
  override readonly name = 'NotAsked'
}

/** @param silent - called after so many milliseconds without an answer; it returns the error */
export async function answerWithin<R>(
  millis: number,
  ask: () => Promise<R>,
  silent: () => Error,
): Promise<R> {
  let timer: Timer | undefined
  try {
    return await new Promise<R>((resolve, reject) => {
      timer = systemClock.after(millis, () => reject(silent()))
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
